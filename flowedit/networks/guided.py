"""Guided network calls for every adapter: sides and draws in batches, at most so many rows, watched by the recorder."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from einops import rearrange
from torch import Tensor

from flowedit.flow.guidance import classifier_free, scales
from flowedit.networks.control.controller import Controller, Module, controlling
from flowedit.networks.parallel import Shared
from flowedit.networks.recorder import Pyramid, Recorder, block_groups, block_indices, recording
from flowedit.networks.split import together
from flowedit.types import Conditioning, Control, Depths, Maps, Scale, Tokens

Texts = tuple[Tensor, ...]
"""What a call takes of the prompts of its rows: embeddings (B, L, D), and what else the family has, each (B, ...)."""

Network = Callable[[Tensor, float, Texts], Tensor]
"""One call: x (B, C, F, H, W) float32 at time t with the texts of its rows, to the output, float32 like x."""


class GuidedNetwork:
    """A network with classifier-free guidance on its output; `rows` bounds a call's batch rows, 0 does not.

    `patch` (frames, height, width) is how many latent sites a token of the network holds. With `second`, the same
    network elsewhere, the unconditional rows go through that one at the same time. A network that `takes_number` has
    one after a prompt's extras, (B,): its guidance scale where there is no negative, and 1 in rows of classifier-free
    guidance; one that knows no guidance may take another there. `pyramid`: see `Architecture`.
    """

    def __init__(
        self,
        network: Network,
        patch: tuple[int, int, int],
        rows: int,
        second: Network | None = None,
        takes_number: bool = False,
        pyramid: bool = False,
    ) -> None:
        self.network, self._patch, self.rows, self._second = network, patch, rows, second
        self._takes_number, self._pyramid = takes_number, pyramid
        self.recorder: Recorder | None = None
        """What watches, inside `record`."""
        self.controller: Controller | None = None
        """What controls, inside `attend`."""

    @torch.no_grad()
    def __call__(
        self,
        x: Tensor,
        t: float,
        prompt: Conditioning,
        guidance_scale: Scale,
        negative: Conditioning | None,
        number: float | None = None,
    ) -> Tensor:
        """v_negative + scale (v_prompt - v_negative), (B, C, F, H, W) float32; at scale 1 the prompt's rows alone.

        Both sides go through in one call, unless `rows` has no room for them. K scales take no more calls than one:
        they give the B rows of each after those of the one before, (K B, C, F, H, W). A network that takes its scale,
        and has no negative, takes a call for each. `number` is what it takes instead.
        """
        if number is not None:
            return self._guided(x, t, prompt, guidance_scale, negative, number)
        if self._takes_number and negative is None:
            each = {g: self._guided(x, t, prompt, 1.0, None, g) for g in dict.fromkeys(scales(guidance_scale))}
            return torch.cat([each[g] for g in scales(guidance_scale)])
        return self._guided(x, t, prompt, guidance_scale, negative, 1.0)

    def _guided(
        self,
        x: Tensor,
        t: float,
        prompt: Conditioning,
        guidance_scale: Scale,
        negative: Conditioning | None,
        number: float,
    ) -> Tensor:
        each_scale = scales(guidance_scale)
        sides = sides_of(prompt, guidance_scale, negative)
        apart = self._second is not None and len(sides) == 2
        alone = apart or 0 < self.rows < len(sides)
        parts: list[list[Tensor]] = [[] for _ in each_scale]
        calls = [[side] for side in sides] if alone else [sides]
        size = max(1, self.rows // len(calls[0])) if self.rows else len(x)
        with self.recorded(prompt, x) as maps, self._controlled(prompt, sides, t):
            for start, rows in zip(range(0, len(x), size), x.split(size), strict=True):
                if apart:
                    out = torch.cat(self._both(sides, rows, t, maps))
                else:
                    out = torch.cat([self._call(call, prompt, rows, t, maps, start, number) for call in calls])
                for part, scale in zip(parts, each_scale, strict=True):
                    part.append(out if len(sides) == 1 else guide(out, scale))
        return torch.cat([rows for part in parts for rows in part])

    def _both(self, sides: Sequence[Conditioning], x: Tensor, t: float, maps: list[Tensor]) -> tuple[Tensor, Tensor]:
        """The rows of the negative by the second network while those of the prompt go through the first."""
        negative, prompt = sides
        assert self._second is not None
        there = partial(self._second, x, t, self.texts([negative], len(x)))
        out, other = together(lambda: self._call([prompt], prompt, x, t, maps), there)
        return other, out

    def _call(
        self,
        sides: Sequence[Conditioning],
        prompt: Conditioning,
        x: Tensor,
        t: float,
        maps: list[Tensor],
        start: int = 0,
        number: float = 1.0,
    ) -> Tensor:
        """One network call, the rows of each side after those of the one before; the prompt's rows, last, are read.

        x are the draws from `start` on.
        """
        batch = torch.cat([x] * len(sides))
        read: AbstractContextManager[None] = nullcontext()
        if self.recorder is not None and sides[-1] is prompt:
            pyramid = Pyramid(len(batch), self._grid(x)) if self._pyramid else None
            read = self.recorder.rows(prompt, slice(len(batch) - len(x), len(batch)), maps, pyramid)
        if self.controller is not None:
            self.controller.rows(sides, range(start, start + len(x)))
        with read:
            return self.network(batch, t, self.texts(sides, len(x), number))

    def texts(self, prompts: Sequence[Conditioning], rows: int, number: float = 1.0) -> Texts:
        """`texts_of` the prompts, and after them the number that the network takes, if it takes one, (B,)."""
        made = texts_of(prompts, rows)
        return (*made, made[0].new_full((len(made[0]),), number, dtype=torch.float32)) if self._takes_number else made

    def _controlled(
        self, prompt: Conditioning, sides: Sequence[Conditioning], t: float
    ) -> AbstractContextManager[None]:
        """One velocity at t, under the control, if there is one."""
        return nullcontext() if self.controller is None else self.controller.velocity(prompt, sides, t)

    @contextmanager
    def attend(self, control: Control, modules: Sequence[Module], depth: int) -> Iterator[Controller]:
        """Control the attention of these modules, of `depth` blocks, inside the block."""

        def watched() -> bool:
            return self.recorder is not None and self.recorder.active and self.recorder.inside

        self.controller = controller = Controller(control, modules, depth, self._patch, watched)
        try:
            with controlling(controller):
                yield controller
        finally:
            self.controller = None

    @contextmanager
    def record(
        self,
        tokens: Mapping[Conditioning, Tokens],
        modules: Sequence[Sequence[torch.nn.Module]],
        blocks: Depths,
        normalise: str,
        text: int,
        shared: Shared | None = None,
    ) -> Iterator[Maps]:
        """Record attention to each prompt's tokens in those of the modules that fractions of the depth choose.

        `modules`: those of each network, of which a call runs one; `text`: how many of a module's first queries are
        text, not video; `shared`: the network is, with others.
        """
        self._read, groups = block_indices(blocks, len(modules[0])), block_groups(blocks, len(modules[0]))
        whole = [] if shared is None else [shared.whole(text)]
        self.recorder = recorder = Recorder(tokens, normalise, *whole, groups=groups)
        ear = recorder if shared is None else shared.ordered(recorder)
        try:
            with recording([each[i] for each in modules for i in self._read], ear, text):
                yield recorder
        finally:
            self.recorder = None

    def tokens(self, x: Tensor) -> int:
        """How many video tokens the network makes of x (B, C, F, H, W)."""
        frames, height, width = self._grid(x)
        return frames * height * width

    def _grid(self, x: Tensor) -> tuple[int, int, int]:
        frames, height, width = (side // p for side, p in zip(x.shape[2:], self._patch, strict=True))
        return frames, height, width

    def in_words(self) -> dict[str, Any] | None:
        """What the call under way is read for, in words that JSON has; None for nothing."""
        read = None if self.recorder is None else self.recorder.in_words()
        return None if read is None else {**read, "modules": self._read}

    @contextmanager
    def recorded(self, prompt: Conditioning, x: Tensor, part: Tensor | None = None) -> Iterator[list[Tensor]]:
        """Where the maps of one velocity at x are put; `part` (n,) are the video tokens that they are of, None all."""
        if self.recorder is None:
            yield []
            return
        frames, height, width = self._grid(x)

        def unpatch(tokens: Tensor) -> Tensor:
            if part is not None:
                whole = tokens.new_zeros((*tokens.shape[:2], frames * height * width))
                tokens = whole.index_copy_(2, part, tokens)
            grid = rearrange(tokens, "b k (f h w) -> b k f h w", f=frames, h=height, w=width)
            for axis, p in enumerate(self._patch, start=2):
                grid = grid.repeat_interleave(p, axis)
            return grid

        with self.recorder.call(prompt, unpatch) as maps:
            yield maps


def texts_of(prompts: Sequence[Conditioning], rows: int) -> Texts:
    """What a call of so many rows of each prompt takes, the rows of each after those of the one before."""
    each = zip(*((prompt.embedding, *prompt.extras) for prompt in prompts), strict=True)
    return tuple(torch.cat([one.expand(rows, *one.shape[1:]) for one in same]) for same in each)


def placed(texts: Texts, device: torch.device, dtype: torch.dtype) -> Texts:
    """Texts on a device, their numbers in a precision; what is whole or true stays so, and so does one number a row."""
    return tuple(each.to(device, dtype if each.is_floating_point() and each.ndim > 1 else each.dtype) for each in texts)


def sides_of(prompt: Conditioning, scale: Scale, negative: Conditioning | None) -> list[Conditioning]:
    """What is run of one prompt: its conditional row last, its negative before it where the guidance needs one."""
    return [prompt] if set(scales(scale)) == {1.0} or negative is None else [negative, prompt]


def guide(rows: Tensor, scale: float) -> Tensor:
    """Classifier-free guidance of the rows (2 B, ...), those of the negative first."""
    negative, conditional = rows.chunk(2)
    return classifier_free(negative, conditional, scale)
