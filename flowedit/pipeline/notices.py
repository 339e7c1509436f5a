"""Options that were set and yet have no effect on this edit: they are named, never silently ignored."""

from functools import reduce
from typing import Any

from flowedit.config.compose import compose
from flowedit.config.schema import Settings
from flowedit.language.words import pairs
from flowedit.pipeline.plan import attended, intervals, own_scales, target_scales
from flowedit.pipeline.region import watched


def unused(settings: Settings, windows: int | None = None) -> list[str]:
    """A line for every option that differs from its default while what it belongs to is off.

    `windows`: the most that a scene is run in, where that is known.
    """
    mode, mask = settings.mode, settings.mask
    source, target = (settings.source_guidance_scale,), target_scales(settings)
    guided = target if mode.name == "random_noise" else source + target
    scale = "a guidance scale other than 1"
    if mode.target_negative == "source":
        guided, scale = source, "a source guidance scale other than 1, or mode.target_negative=prompt"
    paired, fixed = intervals(settings) - (mode.target_only_steps or 0), mode.fixed_noise_steps or 0
    drawn = mode.name == "inversion_free" and paired > fixed
    shared = settings.draws > 1 or min(fixed, paired) > 1
    fresh = (
        "steps with fresh noise, more than mode.fixed_noise_steps"
        if mode.name == "inversion_free"
        else "mode=inversion_free"
    )
    attention = bool(watched(settings))
    masked = attention or settings.user_mask is not None
    own, several = own_scales(settings), "several objects: two words or more that pair up"
    needs = [
        ("draws", drawn, fresh),
        ("guidance.name", drawn, fresh),
        ("seed", mode.name != "inversion", "a mode that draws noise"),
        ("source_guidance_scale", mode.name != "random_noise", "a mode that evaluates the source prompt"),
        ("negative_prompt", any(side != 1 for side in guided), scale),
        ("steps", mode.grid != "given", "a grid that is made, not given"),
        ("window_overlap", settings.window != "whole" and windows != 1, "a clip longer than its window"),
        ("mode.shift", mode.grid == "shifted", "mode.grid=shifted"),
        ("mode.times", mode.grid == "given", "mode.grid=given"),
        ("mode.fixed_noise_steps", shared, "two steps that share the noise, or several draws"),
        ("mode.target_negative", any(side != 1 for side in target), "a target guidance scale other than 1"),
        ("mode.direction_alpha", mode.direction_aware, "mode.direction_aware=true"),
        ("mode.direction_patch", mode.direction_aware, "mode.direction_aware=true"),
        ("mode.decoupling_appearance", mode.decoupling, "mode.decoupling above 0"),
        ("caption", settings.instruction is not None, "an instruction"),
        ("target_guidance_scale", not own or settings.user_mask is not None, "an object without a scale of its own"),
        ("object_guidance_scales", own, several),
        ("mask.objects", attended(settings) and pairs(settings.source_words, settings.target_words), several),
        ("mask.user", settings.user_mask is not None, "a user mask"),
        ("mask.quantile", attention and mask.threshold == "quantile", "mask.threshold=quantile"),
        ("mask.decay", masked, "a mask"),
        ("mask.preserve", masked, "a mask"),
        *((f"mask.{name}", attention, "an attention mask, and so words") for name in ATTENTION),
    ]
    plain = {"guidance": "mean", "draws": 1}  # so that a preset whose guidance came to nothing is told as well
    chosen = {"backbone": settings.backbone.name or "folder", "mode": mode.preset or mode.name, "task": settings.task}
    usual = compose(chosen | plain)
    return [
        f"{key.removesuffix('.name')}={_at(settings, key)} has no effect: it needs {what}"
        for key, effective, what in needs
        if not effective and _at(settings, key) != _at(usual, key)
    ]


ATTENTION = ("blocks", "normalise", "threshold", "pool", "grow", "smooth_frames", "smooth_steps", "over_draws")


def _at(settings: Settings, key: str) -> Any:
    return reduce(getattr, key.split("."), settings)
