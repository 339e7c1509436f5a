"""CLIP's text encoder (Radford et al. 2021, arXiv 2103.00020): 77 tokens; its padding is read, no mask hides it."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from flowedit.backbones.text import Output, Reading, states

LENGTH = 77
"""Tokens of text, the start token and the closing one among them."""


def last(folder: str = "text_encoder", tokenizer: str = "tokenizer") -> Reading:
    """The last states (1, 77, D), through the closing norm, of a CLIPTextModel: as ModelScope's pipeline reads."""
    from transformers import CLIPTextModel

    return _reading(CLIPTextModel, states, folder, tokenizer)


def pooled(folder: str = "text_encoder", tokenizer: str = "tokenizer") -> Reading:
    """The last state of the first closing token alone, (1, D), of a CLIPTextModel: FLUX reads it beside its T5."""
    from transformers import CLIPTextModel

    return _reading(CLIPTextModel, _pooled, folder, tokenizer)


def both(blank: bool) -> Reading:
    """SDXL's two encoders: the states (1, 77, D + D') that enter their last layers, and the second's projected vector.

    `blank`: whether the empty prompt is zeros (force_zeros_for_empty_prompt in its index). diffusers' pipeline does so
    for a negative prompt that is left out, and encodes one that is typed as ""; here both are one prompt, and zeros.
    """
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    second = _reading(CLIPTextModelWithProjection, _projected, "text_encoder_2", "tokenizer_2")
    first = _reading(CLIPTextModel, _penultimate, "text_encoder", "tokenizer")
    return replace(first, others=(second,), join=_side_by_side, blank=blank)


def words() -> Any:
    """The class of the tokenizer: byte pairs, of which none is unknown; the last piece of a word ends in </w>."""
    from transformers import CLIPTokenizer

    return CLIPTokenizer


def _reading(encoder: Any, output: Callable[..., Output], folder: str, tokenizer: str) -> Reading:
    return Reading(encoder, LENGTH, output=output, folder=folder, tokenizer=tokenizer, words=words)


def _pooled(network: Any, ids: Tensor, mask: Tensor) -> Output:
    return (network(ids).pooler_output,)


def _penultimate(network: Any, ids: Tensor, mask: Tensor) -> Output:
    return (network(ids, output_hidden_states=True).hidden_states[-2],)


def _projected(network: Any, ids: Tensor, mask: Tensor) -> Output:
    made = network(ids, output_hidden_states=True)
    return made.hidden_states[-2], made.text_embeds


def _side_by_side(outputs: Sequence[Output]) -> Output:
    (first,), (second, vector) = outputs
    return torch.cat([first, second], dim=-1), vector
