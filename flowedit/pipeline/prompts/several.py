"""Several objects in one prompt: whether each place sees the words of its own object alone."""

from collections.abc import Sequence
from dataclasses import replace

from flowedit.config.schema import Settings
from flowedit.language.words import ObjectWords


def settled(settings: Settings, objects: Sequence[ObjectWords], region: bool) -> Settings:
    """The settings with `attention.objects=auto` as it comes to: apart or joined.

    It is apart where two objects or more have words in both prompts and nothing clashes with a control of attention.
    """
    if settings.attention.objects != "auto":
        return settings
    named = len(objects) > 1 and all(each.source and each.target for each in objects)
    apart = named and not any(clashes(settings, region).values())
    return replace(settings, attention=replace(settings.attention, objects="apart" if apart else "joined"))


def clashes(settings: Settings, region: bool) -> dict[str, bool]:
    """What does not go with a control of attention, as a user types it, and whether it is chosen."""
    return {
        "mode.region=true": region,
        "runtime.context_parallel": settings.runtime.context_parallel > 1,
        "runtime.split_guidance": settings.runtime.split_guidance is not None,
        "guidance_rule=rectified": settings.guidance_rule == "rectified",  # which looks at a later time in between
    }
