"""How others run the same network, to measure ours beside it: attention maps in full, and diffusers' own pipelines."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from flowedit.networks.attention import masked, text_part, video_part
from flowedit.networks.recorder import recording


class FullMaps:
    """Attention to a few tokens by the whole matrix of weights, as FlowDirector's public code keeps it.

    It takes the recorder's place in `recording`; O(N M) memory. `rows` are those of the batch that are read.
    """

    active, inside = True, False

    def __init__(self, tokens: Sequence[int], rows: slice, device: torch.device) -> None:
        self._tokens, self._rows = torch.tensor(list(tokens), device=device), rows
        self.maps: list[Tensor] = []
        """Mean over heads and tokens of each attention that was seen, (rows, queries) float32."""

    def attend(
        self, q: Tensor, k: Tensor, v: Tensor, scale: float | None, text: int, mask: Tensor | None = None
    ) -> Tensor:
        """softmax(q k^T scale + mask) v, (B, H, N, d), with its matrix of weights in memory."""
        scale = q.shape[-1] ** -0.5 if scale is None else scale
        weights = masked(q @ k.transpose(-1, -2) * scale, mask).softmax(-1)
        seen = weights[self._rows, :, video_part(text), text_part(text)]
        self.maps.append(seen[..., self._tokens].float().mean((1, 3)))
        return weights @ v


def with_full_maps(
    modules: Sequence[torch.nn.Module], tokens: Sequence[int], rows: slice, text: int, call: Callable[[], Any]
) -> list[Tensor]:
    """Run `call` while the attention of these modules is computed in full; the maps that were seen."""
    recorder = FullMaps(tokens, rows, next(modules[0].parameters()).device)
    with recording(modules, recorder, text):
        call()
    return recorder.maps


def video_to_video(
    transformer: Any, vae: Any, scheduler: dict[str, Any], x: Tensor, prompt: Tensor, negative: Tensor, steps: int
) -> Tensor:
    """diffusers' video-to-video pipeline over the same network: so many steps from a latent to a latent.

    x (1, C, F, h, w) of the network's latent; embeddings (1, L, D); `scheduler`: its configuration, the class among it.
    It guides with one prompt and one negative, two rows a call, and draws no masks.
    """
    import diffusers

    cog = type(transformer).__name__.startswith("CogVideoX")
    kind = diffusers.CogVideoXVideoToVideoPipeline if cog else diffusers.WanVideoToVideoPipeline
    made = getattr(diffusers, scheduler["_class_name"]).from_config(scheduler)
    pipeline: Any = kind(tokenizer=None, text_encoder=None, vae=vae, transformer=transformer, scheduler=made)  # type: ignore[arg-type]
    pipeline.set_progress_bar_config(disable=True)
    height, width = (side * pipeline.vae_scale_factor_spatial for side in x.shape[-2:])
    latents = (x.transpose(1, 2) if cog else x).to(transformer.device, transformer.dtype)
    made_of = {"prompt_embeds": prompt, "negative_prompt_embeds": negative, "latents": latents}
    shape = {"height": height, "width": width, "num_inference_steps": steps, "strength": 1.0}
    out: Tensor = pipeline(**made_of, **shape, guidance_scale=6.0, output_type="latent", return_dict=False)[0]
    return out
