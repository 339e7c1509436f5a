"""The verbs of a backbone, for every family whose networks diffusers holds: what differs is an `Architecture`."""

import math
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from flowedit.backbones import memory, presets, shapes
from flowedit.backbones.architecture import Architecture
from flowedit.backbones.checkpoint import Checkpoint
from flowedit.backbones.components import Components, precision_of_text, require_bfloat16
from flowedit.backbones.fallback import Fallback, Told
from flowedit.backbones.options import RuntimeOptions
from flowedit.backbones.presets import Load, MemoryNeed, MemoryPreset
from flowedit.backbones.text import TextEncoder
from flowedit.flow.guidance import check_known, scales
from flowedit.messages import InputError
from flowedit.networks import acceleration, autoencoder, parallel
from flowedit.networks.acceleration import Acceleration
from flowedit.networks.guided import GuidedNetwork, Texts, placed
from flowedit.networks.lanes import chosen
from flowedit.networks.pairs import PairNetwork
from flowedit.networks.recorder import block_indices
from flowedit.networks.split import second_device
from flowedit.types import (
    Attending,
    Chosen,
    Conditioning,
    Control,
    Depths,
    Frames,
    Geometry,
    Guided,
    Maps,
    MeanVelocity,
    PairVelocity,
    Scale,
    Tokens,
    Velocity,
)


class Adapter:
    """A checkpoint behind the `Backbone` seam; its components are loaded when first needed.

    `architecture(checkpoint, dtype)` reads the configuration; it raises InputError for a checkpoint that its family
    cannot run. Where its networks lie is what `offload` and `rows` say, or, of those that are "auto", what `fit` finds.
    Where memory runs out it goes on with the next smaller preset of the `ladder`, from the very call that failed.
    """

    def __init__(
        self,
        architecture: Callable[[Checkpoint, torch.dtype], Architecture],
        checkpoint: Checkpoint,
        device: torch.device,
        dtype: torch.dtype,
        *,
        rows: int | str,
        tiling: bool,
        cache: Path | None,
        offload: str = "auto",
        weights: str = "saved",
        text_weights: str = "saved",
        ladder: Sequence[MemoryPreset] = (),
        how: Acceleration = acceleration.PLAIN,
    ) -> None:
        acceleration.check(how, offload, weights)  # before the weights are read
        require_bfloat16(checkpoint.name, device, dtype)
        self.checkpoint, self.device, self.dtype = checkpoint, device, dtype
        self._runtime = RuntimeOptions(
            device=str(device),
            dtype=str(dtype).removeprefix("torch."),  # type: ignore[arg-type]
            offload=offload,  # type: ignore[arg-type]
            weights=weights,  # type: ignore[arg-type]
            text_weights=text_weights,  # type: ignore[arg-type]
            rows=rows,  # type: ignore[arg-type]
            tiling=tiling,
            threads=None,
            cache=None,
            **vars(how),
        )
        self.architecture = own = architecture(checkpoint, dtype)
        idle = device.type == "cpu" and offload == "blocks"
        vain = f"{presets.called(ladder, offload, rows)} saves nothing on a CPU: the networks are in its memory anyway"
        self.spec, self.evaluations = replace(own.spec, notices=(*own.spec.notices, *[vain] * idle)), 0
        text = checkpoint.dtype(own.reading.folder) if checkpoint.loaded else precision_of_text(device, dtype)
        self.components = Components(
            checkpoint,
            device,
            transformer=own.transformer,
            vae=own.vae,
            encoders={each.folder: (each.encoder, text) for each in own.reading.all},
            tiling=tiling,
            weights=weights,
            text_weights=text_weights,
        )
        if own.boundary is not None and (how.split_guidance is not None or how.context_parallel > 1):
            raise InputError(f"{checkpoint.name} has two networks: leave split_guidance and context_parallel out")
        if own.pyramid and how.context_parallel > 1:
            raise InputError(f"{checkpoint.name} is a UNet, whose calls are not shared: leave context_parallel out")
        acceleration.check_family(how, checkpoint.name, own.without)
        self._processes = parallel.needed(how.context_parallel)
        self.shared: parallel.Shared | None = None
        made = acceleration.prepared(how, device, own.blocks.of)
        self.components.prepare = lambda network: self._shared_out(made(own.prepare(network)))
        self._second = None if how.split_guidance is None else second_device(how.split_guidance, device)
        self._counting = threading.Lock()
        there = None if self._second is None else self._output_there
        takes = own.spec.guidance == "embedded" or own.until is not None
        self._guided = GuidedNetwork(self._output, own.patch, 0, there, takes_number=takes, pyramid=own.pyramid)
        self._pair = PairNetwork(self._guided, own.blocks, self._network)
        # Processes that share a call cannot do one again with less memory: each is in the middle of it.
        ladder = presets.able(ladder, how) if self._processes is None else ()
        self.memory = Fallback(self.components, self._guided, device, ladder, offload, rows)
        self.text = TextEncoder(checkpoint, own.reading, device, text, cache, self.memory.encoder, text_weights)

    @property
    def knots(self) -> Tensor:
        """Times the model was trained at, float64, descending from the largest."""
        return self.architecture.knots

    def ready(self) -> None:
        """Read the weights of the transformer and the autoencoder; the text encoder's may never be needed."""
        self.components.ready()

    def fit(self, load: Load, say: Callable[[str], None]) -> None:
        """Choose how the networks lie in memory, of what was left open: the fastest that fits into what is free.

        `say` hears of a lack of memory, and later of each fall to a smaller preset.
        """
        # None for a family of which nobody knows what it needs, and for networks that stay where they are.
        blueprint = None if self.checkpoint.loaded else memory.of_folder(self.checkpoint.path)

        def needs(preset: MemoryPreset, free: float | None) -> MemoryNeed:
            assert blueprint is not None
            return presets.need(blueprint, load, self._runtime, preset, free)

        self.memory.fit(None if blueprint is None else needs, say)

    def geometry(self, frames: int, size: tuple[int, int]) -> Geometry:
        """The nearest valid shape of a clip of `frames` at about size (height, width).

        `frame_step` k + 1 frames (the last is repeated), sides in multiples of the autoencoder's scale and the
        network's patches. Raises InputError for no frames, and for a side that the model has no positions for.
        """
        own = self.architecture
        return shapes.geometry(self.spec, own.channels, own.scale, own.frame_step, frames, size)

    @torch.no_grad()
    def encode(self, frames: Frames, progress: Callable[[int], None] | None = None) -> Tensor:
        """Frames uint8 (F, H, W, 3) of a valid shape to the latent's mode (1, C, f, h, w) on the host, scaled."""
        told = Told(progress)

        def encoded() -> Tensor:
            vae = self.components.place(self.components.vae)
            with self.checkpoint.reporting("its autoencoder cannot be run"):
                stream = self.architecture.encoder(vae, len(frames), frames.shape[1:3])
                return self.architecture.scaled(autoencoder.encode(stream, frames, self.device, told.anew()))

        x = self.memory.run("encode", encoded)
        return torch.cat([x[:, :, :1]] * self.spec.leading_latents + [x], dim=2)

    @torch.no_grad()
    def decode(self, z: Tensor) -> Iterator[np.ndarray]:
        """A latent (1, C, f, h, w) to chunks of frames uint8 (F, H, W, 3), the clip's first frames first."""
        z = self.architecture.unscaled(z[:, :, self.spec.leading_latents :])

        def decoded() -> Iterator[np.ndarray]:
            vae = self.components.place(self.components.vae)
            with self.checkpoint.reporting("its autoencoder cannot be run"):
                stream = self.architecture.decoder(vae, z.shape[2], z.shape[3:])
                yield from autoencoder.decode(stream, z, self.device)

        yield from self.memory.chunks("decode", decoded)

    def spans(self, prompt: str) -> tuple[tuple[int, int], ...]:
        """[start, end) characters of each token of the prompt, without loading the text encoder."""
        return self.text.spans(prompt)

    def unreadable(self, prompt: str) -> tuple[tuple[int, int], ...]:
        """[start, end) characters of the prompt that the tokenizer has no piece for."""
        return self.text.unreadable(prompt)

    def embed(self, prompt: str) -> Conditioning:
        """The prompt's embedding, padded to the model's text length; raises InputError if the prompt is longer."""
        made = self.memory.run("embed", lambda: self.text.embed(prompt))
        extras = tuple(each.to(self.device) for each in made.extras)
        return replace(made, embedding=made.embedding.to(self.device), extras=extras)

    def velocity(
        self, prompt: Conditioning, guidance_scale: Scale = 1.0, negative: Conditioning | None = None
    ) -> Velocity:
        """u(z, t) with classifier-free guidance in one batched network call; at guidance 1 only conditional rows.

        Without a `negative` the empty prompt is it, as in the pipelines of diffusers, but that a network that is told
        its scale takes it in one row. Raises InputError for a scale that the model does not know.
        """
        mean = self.mean_velocity(prompt, guidance_scale, negative)
        return lambda z, t: mean(z, t, t)

    def mean_velocity(
        self, prompt: Conditioning, guidance_scale: Scale = 1.0, negative: Conditioning | None = None
    ) -> MeanVelocity:
        """The same over an interval of time, by a network that learned that; by all others at its start."""
        negative = self._negative(guidance_scale, negative)
        self.components.release_encoder()  # what is to be said has been embedded by now
        if self._second is not None:
            self._copy  # noqa: B018  (read before a thread asks for it)

        def velocity(z: Tensor, t: float, t_next: float) -> Tensor:
            x = self.architecture.state(z.float(), t)
            until = None if self.architecture.until is None else self.architecture.until(t_next)
            output = self.memory.run("edit", lambda: self._guided(x, t, prompt, guidance_scale, negative, until))
            u = self.architecture.velocity(output, x, t)
            if self._guided.controller is not None:
                self._guided.controller.foresaw(prompt, lambda: z - t * u[-len(z) :])
            return u

        return velocity

    def choose(self, region: Tensor) -> Sequence[Chosen]:
        """The tokens that hold a site of the region, bool (1, 1, F, H, W); the host waits for their number."""
        return (Chosen(*chosen(region.to(self.device), self.architecture.patch)),)

    def pair_velocity(self, source: Guided, target: Guided) -> PairVelocity:
        """Both velocities in common network calls, the target's at the chosen sites, and u_src at all others.

        In every block the target attends to its own text and to the source's video, in which the chosen tokens are
        its own. Raises InputError where several processes or devices share the calls, and where `packs` says no.
        """
        if not self.packs:
            raise InputError(f"{self.spec.name} evaluates whole frames alone: leave mode.region=true out")
        if self._processes is not None or self._second is not None:
            raise InputError("mode.region=true runs in one process, on one device: leave one of them out")
        source, target = (
            each._replace(negative=self._negative(each.scale, each.negative)) for each in (source, target)
        )
        own = self.architecture
        self.components.release_encoder()

        def velocities(q: Tensor, p: Tensor, t: float, parts: Sequence[Chosen]) -> tuple[Tensor, Tensor]:
            (part,) = parts
            x_q, x_p = own.state(q.float(), t), own.state(p.float(), t)

            def outputs() -> tuple[Tensor, Tensor]:
                with acceleration.uncompiled(own.blocks.of(self._network(t))):  # so that hooks are heard
                    return self._pair(x_q, x_p, t, source, target, part.tokens)

            v_q, v_p = self.memory.run("edit", outputs)
            u_q, u_p = own.velocity(v_q, x_q, t), own.velocity(v_p, x_p, t)
            return u_q, torch.where(part.sites, u_p, u_q.repeat(len(u_p) // len(u_q), 1, 1, 1, 1))

        return velocities

    @property
    def packs(self) -> bool:
        """Whether it evaluates a region alone."""
        return self.architecture.blocks.packs

    @property
    def controls(self) -> bool:
        """Whether its attention can be controlled."""
        return not self.architecture.pyramid

    @property
    def token_evaluations(self) -> float:
        """`evaluations`, but a row counts by the share of a whole row's tokens that it sent."""
        return self.evaluations - self._pair.saved

    def _negative(self, scale: Scale, negative: Conditioning | None) -> Conditioning | None:
        check_known(self.spec.name, self.spec.guidance, scale)
        free = self.spec.guidance == "free" and set(scales(scale)) != {1.0}
        return self.embed("") if free and negative is None else negative

    def _output(self, x: Tensor, t: float, texts: Texts) -> Tensor:
        return self._run(self.components.place(self._network(t)), self.device, x, t, texts)

    def _network(self, t: float) -> Any:
        """The transformer of time t."""
        boundary = self.architecture.boundary
        return self.components.transformer if boundary is None or t >= boundary else self.components.second

    def _networks(self) -> list[Any]:
        """All transformers, which are of one shape."""
        parts = self.components
        return [parts.transformer, *([] if self.architecture.boundary is None else [parts.second])]

    def _output_there(self, x: Tensor, t: float, texts: Texts) -> Tensor:
        """The same by the copy on the second device, in a thread of its own."""
        assert self._second is not None
        return self._run(self._copy, self._second, x, t, texts).to(self.device)

    @cached_property
    def _copy(self) -> Any:
        """The transformer once more, for the second device."""
        return self.components.another_transformer(self.checkpoint.denoiser).to(self._second)

    def _run(self, network: Any, device: torch.device, x: Tensor, t: float, texts: Texts) -> Tensor:
        timestep = torch.full((len(x),), self.architecture.timestep(t), device=device, dtype=torch.float32)
        x, given = x.to(device, self.dtype), placed(texts, device, self.dtype)
        with self.checkpoint.reporting("its transformer cannot be run"), self._told(x, timestep, *given):
            output = self.architecture.call(network, x, timestep, *given)
        with self._counting:
            self.evaluations += len(x)
        return output.float()

    def _shared_out(self, network: Any) -> Any:
        """The transformer, its tokens spread over the processes of this edit, if there are others."""
        if self._processes is None:
            return network
        own = self.architecture
        if self._processes.rank == 0:
            checkpoint, dtype = self.checkpoint, str(self.dtype).removeprefix("torch.")
            words = {"do": "load", "path": str(checkpoint.path), "name": checkpoint.name, "dtype": dtype}
            self._processes.tell({**words, "overlay": checkpoint.overlay.words()})
        heads: Any = own.attention(network)[0].heads
        self.shared = parallel.Shared(network, self._processes, heads, own.plan(network))
        return network

    def _told(self, x: Tensor, *others: Tensor) -> AbstractContextManager[None]:
        """A call of x (B, C, F, H, W), the timestep and the texts, told to the other processes before it is run."""
        if self.shared is None:
            return nullcontext()
        lengths = [math.prod(side // p for side, p in zip(x.shape[2:], self.architecture.patch, strict=True))]
        lengths += [self.architecture.text_queries] if self.architecture.text_queries else []
        return self.shared.told({"lengths": lengths, "read": self._guided.in_words()}, [x, *others])

    def part(self) -> parallel.RankShare:
        """What a process that follows runs of this backbone."""
        network, own = self.components.place(self.components.transformer), self.architecture
        assert self.shared is not None
        return parallel.RankShare(self.shared, partial(own.call, network), own.attention(network), own.text_queries)

    @contextmanager
    def record(self, tokens: Mapping[Conditioning, Tokens], blocks: Depths, normalise: str = "joint") -> Iterator[Maps]:
        """Record the attention of video queries to each prompt's tokens, in blocks given as fractions of the depth.

        "joint" is the softmax over all keys of the module, padding included, as the model takes it.
        """
        networks, own = self._networks(), self.architecture
        modules, text = [own.attention(network) for network in networks], own.text_queries
        read = block_indices(blocks, len(modules[0]))
        with (
            acceleration.uncompiled([own.blocks.of(network)[i] for network in networks for i in read]),
            self._guided.record(tokens, modules, blocks, normalise, text, self.shared) as maps,
        ):
            yield maps

    @contextmanager
    def attend(self, control: Control) -> Iterator[Attending]:
        """Inside, the velocities of the control's target are made under it.

        Raises InputError where several processes or devices share the calls, for blocks that are not there, and where
        `controls` says no.
        """
        if not self.controls:
            raise InputError(f"{self.spec.name} is a UNet, which offers no control of its attention")
        if self._processes is not None or self._second is not None:
            raise InputError("attention control runs in one process, on one device: leave one of them out")
        networks, own = self._networks(), self.architecture
        modules = [each for network in networks for each in own.blocks.modules(network, own.text_queries)]
        with (
            acceleration.uncompiled([block for network in networks for block in own.blocks.of(network)]),
            self._guided.attend(control, modules, len(own.blocks.of(networks[0]))) as controller,
        ):
            yield controller

    def describe(self) -> dict[str, Any]:
        """What run.yaml keeps of a backbone."""
        laid = self.memory.preset
        return self.checkpoint.describe(self.device, self.dtype) | {"offload": laid.offload, "rows": laid.rows}
