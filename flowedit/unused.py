"""Options that were set and yet have no effect on this edit: they are named, never silently ignored."""

from functools import reduce
from typing import Any

from flowedit.config import compose
from flowedit.region import watched
from flowedit.settings import Settings


def unused(settings: Settings) -> list[str]:
    """A line for every option that differs from its default while what it belongs to is off."""
    mode, mask, scales = settings.mode, settings.mask, (settings.source_guidance_scale, settings.target_guidance_scale)
    guided = scales[1:] if mode.name == "random_noise" else scales
    attention = bool(watched(settings))
    masked = attention or settings.user_mask is not None
    needs = [
        ("draws", mode.name == "inversion_free", "mode=inversion_free"),
        ("guidance.name", mode.name == "inversion_free", "mode=inversion_free"),
        ("seed", mode.name != "inversion", "a mode that draws noise"),
        ("source_guidance_scale", mode.name != "random_noise", "a mode that evaluates the source prompt"),
        ("negative_prompt", any(scale != 1 for scale in guided), "a guidance scale other than 1"),
        ("steps", mode.grid != "given", "a grid that is made, not given"),
        ("mode.shift", mode.grid == "shifted", "mode.grid=shifted"),
        ("mode.times", mode.grid == "given", "mode.grid=given"),
        ("mask.user", settings.user_mask is not None, "a user mask"),
        ("mask.quantile", attention and mask.threshold == "quantile", "mask.threshold=quantile"),
        ("mask.decay", masked, "a mask"),
        ("mask.preserve", masked, "a mask"),
        *((f"mask.{name}", attention, "an attention mask, and so words") for name in ATTENTION),
    ]
    usual = compose({"backbone": settings.backbone.name or "folder", "mode": mode.name, "guidance": "mean"})
    return [
        f"{key.removesuffix('.name')}={_at(settings, key)} has no effect: it needs {what}"
        for key, effective, what in needs
        if not effective and _at(settings, key) != _at(usual, key)
    ]


ATTENTION = ("blocks", "normalise", "threshold", "pool", "smooth_frames", "smooth_steps", "over_draws")


def _at(settings: Settings, key: str) -> Any:
    return reduce(getattr, key.split("."), settings)
