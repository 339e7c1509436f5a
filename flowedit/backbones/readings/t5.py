"""T5 (Raffel et al. 2020) as families read it that hide padding from their network: its states, and a mask."""

from typing import Any

from torch import Tensor

from flowedit.backbones.text import Output, Reading


def seen(length: int) -> Reading:
    """The last states (1, L, D), padding encoded as if it were text, and which tokens are the prompt's, bool (1, L)."""
    from transformers import T5EncoderModel

    return Reading(T5EncoderModel, length, output=_seen)


def _seen(network: Any, ids: Tensor, mask: Tensor) -> Output:
    return network(ids)[0], mask.bool()
