"""Attention of CogVideoX by way of diffusers' dispatcher, which its other kernels go through."""

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
