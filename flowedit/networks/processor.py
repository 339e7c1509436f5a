"""Attention of CogVideoX and Mochi by way of diffusers' dispatcher, which its other kernels go through."""

from typing import Any, cast

import torch
from diffusers.models._modeling_parallel import ContextParallelInput, ContextParallelOutput
from diffusers.models.attention_dispatch import dispatch_attention_fn
from diffusers.models.embeddings import apply_rotary_emb
from torch import Tensor

RotaryTable = tuple[Tensor, Tensor]


class DispatchedProcessor:
    """Joint attention of text and video, as diffusers' `CogVideoXAttnProcessor2_0`, of one module of a CogVideoX.

    Each module has one of its own, as the recorder sets the kernel of the modules that it reads.
    """

    _attention_backend: str | None = None
    """The kernel by diffusers' name; None for the one of DIFFUSERS_ATTN_BACKEND, or PyTorch's choice."""
    _parallel_config: Any = None
    """How the sequence is spread over processes, as diffusers describes it; None for one process."""

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        image_rotary_emb: RotaryTable | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Video (B, N, D) and text (B, L, D), normalised, to what attention adds to each.

        The tensors have the order of the axes that the stock processor gives them, so that PyTorch's own kernel gives
        the same bits.
        """
        text = encoder_hidden_states.shape[1]
        states = torch.cat([encoder_hidden_states, hidden_states], dim=1)
        if hasattr(attn, "to_qkv"):
            projected = attn.to_qkv(states).chunk(3, dim=-1)
        else:
            projected = attn.to_q(states), attn.to_k(states), attn.to_v(states)
        q, k, v = (each.unflatten(2, (attn.heads, -1)).transpose(1, 2) for each in projected)
        q, k = _placed(attn.norm_q, q, text, image_rotary_emb), _placed(attn.norm_k, k, text, image_rotary_emb)
        q, k, v = (each.transpose(1, 2) for each in (q, k, v))  # (B, N, heads, d), as the dispatcher wants them
        backend: Any = self._attention_backend  # a name serves as well
        out = dispatch_attention_fn(
            q, k, v, attn_mask=attention_mask, backend=backend, parallel_config=self._parallel_config
        )
        out = attn.to_out[1](attn.to_out[0](out.flatten(2, 3)))
        return out[:, text:], out[:, :text]


def _placed(norm: Any, x: Tensor, text: int, table: RotaryTable | None) -> Tensor:
    """(B, heads, N, d) after its norm, and video after its rotation; text has no place."""
    x = x if norm is None else norm(x)
    if table is not None:
        rotated: Any = apply_rotary_emb(x[:, :, text:], cast(Any, table))
        x[:, :, text:] = rotated
    return x


def dispatched(network: Any) -> Any:
    """The CogVideoX, each of its attention modules with a processor of its own."""
    for block in network.transformer_blocks:
        block.attn1.set_processor(DispatchedProcessor())
    return network


def split_plan(network: Any) -> dict[str, Any]:
    """Where a CogVideoX splits its sequence for processes that share it: each takes a part of the text and the video.

    A process attends with [text, video] of its own; which of the tokens come first does not matter to a softmax.
    """
    tokens = ContextParallelInput(split_dim=1, expected_dims=3)
    places = ContextParallelInput(split_dim=0, expected_dims=2)
    return {
        "": {"image_rotary_emb": [places, places]},
        "transformer_blocks.0": {"hidden_states": tokens, "encoder_hidden_states": tokens},
        "proj_out": ContextParallelOutput(gather_dim=1, expected_dims=3),
    }


class MaskedProcessor:
    """Joint attention of video and text, as diffusers' `MochiAttnProcessor2_0`, of one module of a Mochi.

    That one attends sample by sample, each with its own text alone; here all attend at once, and what pads a text is
    masked. What the text's own padding gives is zero in both.
    """

    _attention_backend: str | None = None
    """As that of `DispatchedProcessor`."""
    _parallel_config: Any = None

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        attention_mask: Tensor,
        image_rotary_emb: RotaryTable | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Video (B, N, D) and text (B, L, D'), which are the prompt's own tokens (B, L), to what is added to each."""
        video, own = hidden_states.shape[1], attention_mask.bool()
        seen = [(attn.to_q, attn.norm_q), (attn.to_k, attn.norm_k), (attn.to_v, None)]
        said = [(attn.add_q_proj, attn.norm_added_q), (attn.add_k_proj, attn.norm_added_k), (attn.add_v_proj, None)]
        q, k, v = (_headed(attn.heads, *each, hidden_states) for each in seen)
        if image_rotary_emb is not None:
            q, k = _turned(q, *image_rotary_emb), _turned(k, *image_rotary_emb)
        words = (_headed(attn.heads, *each, encoder_hidden_states) for each in said)
        q, k, v = (torch.cat(pair, dim=1) for pair in zip((q, k, v), words, strict=True))
        mask = torch.cat([own.new_ones(len(own), video), own], dim=1)[:, None, None]
        backend: Any = self._attention_backend
        out = dispatch_attention_fn(q, k, v, attn_mask=mask, backend=backend, parallel_config=self._parallel_config)
        out = out.flatten(2, 3)
        text = out[:, video:] * own[..., None]
        text = attn.to_add_out(text) if hasattr(attn, "to_add_out") else text
        return attn.to_out[1](attn.to_out[0](out[:, :video])), text


def _headed(heads: int, project: Any, norm: Any, x: Tensor) -> Tensor:
    """(B, N, D) to (B, N, heads, d), projected and normalised."""
    projected: Tensor = project(x).unflatten(2, (heads, -1))
    return projected if norm is None else norm(projected)


def _turned(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """(B, N, heads, d), of which neighbours are turned together, by the angles (N, heads, d / 2) of their places."""
    even, odd = x[..., 0::2].float(), x[..., 1::2].float()
    pair = (even * cos - odd * sin).to(x.dtype), (even * sin + odd * cos).to(x.dtype)
    return torch.stack(pair, dim=-1).flatten(-2)


def masked(network: Any) -> Any:
    """The Mochi, each of its attention modules with a processor of its own, and its angles without an autocast.

    A CPU knows no autocast to float32, and diffusers' own way warns of that at every call.
    """
    for block in network.transformer_blocks:
        block.attn1.processor = MaskedProcessor()
    network.rope._create_rope = _angles
    return network


def _angles(frequencies: Tensor, places: Tensor) -> RotaryTable:
    """cos and sin (N, heads, d / 2), in float32, of the places (N, 3)."""
    turns = torch.einsum("nd,dhf->nhf", places.float(), frequencies.float())
    return turns.cos(), turns.sin()
