"""Llama 3 as HunyuanVideo reads it: a prompt in a template that asks for a description of a video."""

from typing import Any

from torch import Tensor

from flowedit.backbones.text import Output, Reading

LENGTH = 256
"""Tokens of text, the closing one among them."""

LEFT = 3
"""The states are those that leave the layer so many before the end: the last two are not run for them."""


def described(*others: Reading, join: Any) -> Reading:
    """The states (1, 256, D) of the prompt's tokens, which have seen the template's, and which are not padding, bool.

    Of the template (`DEFAULT_PROMPT_TEMPLATE` of diffusers' pipeline) the first 95 tokens are left out.
    """
    from diffusers.pipelines.hunyuan_video.pipeline_hunyuan_video import DEFAULT_PROMPT_TEMPLATE
    from transformers import LlamaModel

    template: Any = DEFAULT_PROMPT_TEMPLATE
    skipped: int = template["crop_start"]

    def described(network: Any, ids: Tensor, mask: Tensor) -> Output:
        states = network(input_ids=ids, attention_mask=mask, output_hidden_states=True).hidden_states[-LEFT]
        return states[:, skipped:], mask[:, skipped:].bool()

    return Reading(
        LlamaModel,
        LENGTH,
        output=described,
        words=_words,
        others=others,
        join=join,
        template=template["template"],
        skipped=skipped,
    )


def _words() -> Any:
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast
