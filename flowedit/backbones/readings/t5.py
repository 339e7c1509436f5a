"""T5 (Raffel et al. 2020) as families read it that hide padding from their network: its states, and a mask."""

from typing import Any

from torch import Tensor

from flowedit.backbones.text import Output, Reading


def seen(length: int) -> Reading:
    """The last states (1, L, D), padding encoded as if it were text, and which tokens are the prompt's, bool (1, L)."""
    from transformers import T5EncoderModel

    return Reading(T5EncoderModel, length, output=_seen, padding="hidden")


def _seen(network: Any, ids: Tensor, mask: Tensor) -> Output:
    return network(ids)[0], mask.bool()


def apart(length: int, blank: bool) -> Reading:
    """The states (1, L, D) of tokens that do not see padding, and which are the prompt's, bool (1, L).

    `blank`: whether the empty prompt is padding all through, of which nothing is seen (`force_zeros_for_empty_prompt`).
    """
    from transformers import T5EncoderModel

    output = _apart_or_blank if blank else _apart
    return Reading(T5EncoderModel, length, output=output, with_mask=True, padding="hidden")


def _apart(network: Any, ids: Tensor, mask: Tensor) -> Output:
    return network(ids, attention_mask=mask.bool())[0], mask.bool()


def _apart_or_blank(network: Any, ids: Tensor, mask: Tensor) -> Output:
    full = int(mask.sum()) > 1  # an empty prompt is its closing token alone
    return _apart(network, ids if full else ids * 0, mask if full else mask * 0)
