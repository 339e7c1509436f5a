"""Several objects in one prompt: whether each place sees the words of its own object alone."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from flowedit.networks.control.options import AttentionOptions

if TYPE_CHECKING:
    from flowedit.pipeline.plan import Brief


def attention_of(made: Brief) -> AttentionOptions:
    """The control of attention of an edit, with `attention.objects=auto` as it comes to: apart or joined.

    It is apart where two objects or more have words in both prompts and nothing clashes with a control of attention.
    """
    options = made.settings.attention
    if options.objects != "auto":
        return options
    named = len(made.objects) > 1 and all(each.source and each.target for each in made.objects)
    return replace(options, objects="apart" if named and not any(clashes(made).values()) else "joined")


def clashes(made: Brief) -> dict[str, bool]:
    """What does not go with a control of attention, as a user types it, and whether it is chosen."""
    settings = made.settings
    return {
        "mode.region=true": made.region is not None,
        "runtime.context_parallel": settings.runtime.context_parallel > 1,
        "runtime.split_guidance": settings.runtime.split_guidance is not None,
        "guidance_rule=rectified": settings.guidance_rule == "rectified",  # which looks at a later time in between
    }
