"""What a user hears about an edit: where it happens, how the clip is run, and which options have no effect."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowedit.backbones import memory, presets, shapes
from flowedit.backbones.presets import MemoryPreset
from flowedit.config.compose import compose
from flowedit.config.compose import options as names
from flowedit.config.defaults import memory_presets
from flowedit.config.options import declared_by
from flowedit.config.quality import OverruledQuality
from flowedit.config.schema import Settings
from flowedit.flow.windows import Window
from flowedit.language import words
from flowedit.language.tasks import TASKS
from flowedit.machine import device_name, free_memory
from flowedit.media import cuts
from flowedit.messages import NAN_ADVICE, InputError, listed
from flowedit.metrics.health import Health
from flowedit.pipeline.checks import changed
from flowedit.pipeline.plan import Brief, Plan, asked_size, brief, load_of, native_size, seen_of, windows_of
from flowedit.pipeline.region import has_region
from flowedit.types import Backbone, BackboneSpec, Geometry

if TYPE_CHECKING:
    import torch

SAID = 0.5
"""GiB from which the memory that is expected is worth a word."""

MOST_REDUCED = 5
"""How many times the width that a small model works at a clip may have before the user is told."""


@dataclass(frozen=True)
class Shape:
    """What a clip is to the model: (height, width), frames, windows and shots, and the times that are run."""

    size: tuple[int, int]
    frames: int
    windows: int
    shots: int
    grid: Sequence[float]
    seen: tuple[int, int, int, int]
    """The latent (C, F, H, W) of the longest window."""

    @classmethod
    def of(cls, plan: Plan) -> "Shape":
        """That of all shots of a plan."""
        geometry, windows = plan.geometry, sum(len(shot.windows) for shot in plan.shots)
        seen = seen_of(geometry, [window for shot in plan.shots for window in shot.windows])
        return cls(geometry.size, geometry.source_frames, windows, len(plan.shots), plan.grid, seen)


def of_download(settings: Settings, place: "torch.device") -> str:
    """What comes before a model that is not here yet can run, and whether it would fit."""
    chosen = settings.backbone
    name, size = chosen.name or chosen.repository, chosen.download or "a download of unknown size"
    license = chosen.license or "see its page on the model hub"
    come = f"{name}: {size} to download first, from {chosen.repository} on the model hub; license: {license}"
    return "; ".join([come, *_of_fit(settings, place)])


def _of_fit(settings: Settings, place: "torch.device") -> list[str]:
    """Whether an edit with a model that is not here yet would fit this machine, as far as a release of it is known.

    At the size and length that are asked for, or that it was trained at; `flowedit doctor` says more.
    """
    name = settings.backbone.name or ""
    if (drawn := memory.released(name)) is None:
        return []
    spec = replace(shapes.of_blueprint(drawn, {}), name=name)
    frames = min(settings.frames or spec.trained_frames, spec.trained_frames)
    geometry = shapes.geometry_of(drawn, spec, frames, asked_size(settings, spec) or native_size(spec))
    load = load_of(brief(settings), seen_of(geometry, windows_of(settings, spec, geometry.latent[1])))
    free, ladder = free_memory(place), memory_presets()
    if place.type == "cpu":
        free = memory.of_host()[0]
        word = presets.verdict_of_host(drawn, presets.need(drawn, load, settings.runtime, presets.CPU, free), free)
    else:
        word = presets.verdict(presets.needs(ladder, drawn, load, settings.runtime, free), free)
    height, width = geometry.size
    return [f"at {width}x{height} it {word.text} (reckoned; flowedit doctor says more)"]


def _expected(made: Brief, backbone: Backbone, shape: Shape, about: Mapping[str, Any]) -> str:
    """What an edit will hold at most, by the formula of backbones/memory.py; empty for what it does not know."""
    try:
        drawn = memory.of_folder(Path(about["folder"]))
    except (KeyError, InputError, OSError):
        return ""
    if drawn is None:
        return ""
    laid = MemoryPreset("as laid", str(about.get("offload", "parts")), int(about.get("rows", 0)))
    preset = presets.CPU if backbone.device.type == "cpu" else laid
    load, free = load_of(made, shape.seen), free_memory(backbone.device)
    needed = presets.need(drawn, load, made.settings.runtime, preset, free)
    most = max(needed.phases.values())
    return f"; expects {most:.1f} GiB of memory" if most >= SAID else ""


def of_start(made: Brief, backbone: Backbone, shape: Shape, evaluations: int, region: bool = False) -> str:
    """One line before the networks run: where, how precisely, at what size, how often, and with what memory.

    `region`: whether the target is evaluated inside the mask alone.
    """
    spec, (height, width) = backbone.spec, shape.size
    about = backbone.describe()
    dtype = about.get("dtype")
    where = f"{spec.name} on {device_name(backbone.device)}" + (f" in {dtype}" if dtype else "")
    windows = f"{shape.windows} window{'' if shape.windows == 1 else 's'}"
    shots = f", {shape.shots} shots" if shape.shots > 1 else ""
    frames = f"{shape.frames} frame{'' if shape.frames == 1 else 's'}"
    steps = len(shape.grid) - 1
    begins = f" from noise {shape.grid[0]:.3g}" if steps else ""
    expected = _expected(made, backbone, shape, about)
    less = " (the target's inside the mask alone)" if region else ""
    free = free_memory(backbone.device)
    laid = f" (offload {about['offload']}; {free:.1f} GiB free)" if free is not None and "offload" in about else ""
    return (
        f"{where}: {width}x{height}, {frames} in {windows}{shots}, {steps} step{'' if steps == 1 else 's'}"
        f"{begins}, {evaluations} network evaluations{less}{expected}{laid}"
    )


def of_pass(made: Brief, backbone: Backbone) -> list[str]:
    """A region pass that the backbone does not have, or that passes compiled blocks by."""
    if made.region is None:
        return []
    if has_region(backbone):
        compiled = made.settings.runtime.compile
        return ["runtime.compile has no effect with mode.region=true, but in whole steps"] if compiled else []
    return [f"mode.region=true has no effect: {backbone.spec.name} evaluates whole frames alone"]


def of_region(made: Brief) -> list[str]:
    """What a user should hear about where the edit happens."""
    settings, sides, editor = made.settings, made.sides, made.editor
    notices = [*_of_task(made), *_of_equal(settings)]
    if "source" not in editor.sides and words.phrases(settings.source_words):
        notices.append(f"mode={settings.mode.name} never looks at the source prompt: no mask comes from source_words")
    if not made.attended:
        if not settings.user_mask:
            notices.append("mask=none and no user mask: a global edit, the whole frame may change")
        elif settings.mask.name == "attention" and words.phrases(settings.source_words + settings.target_words):
            notices.append("the user mask replaces that of the words (mask.user=join joins the two)")
        return notices
    if not sides:
        what = "the user mask alone" if settings.user_mask else "a global edit, the whole frame may change"
        notices.append(f"no words to read attention for: {what} (give --source-words or --target-words)")
    elif len(sides) == 1 and "source" in editor.sides:
        other = "target" if "source" in sides else "source"
        if TASKS[settings.task].words is None:
            notices.append(f"no {other}_words: the mask comes from the {next(iter(sides))} prompt alone")
    return notices + _of_objects(made)


def _of_equal(settings: Settings) -> Iterator[str]:
    source, target = (" ".join((text or "").lower().split()).rstrip(".") for text in (settings.source, settings.target))
    if source and source == target:
        yield "source and target prompts say the same: nothing tells the edit what to change"


def _of_objects(made: Brief) -> list[str]:
    settings = made.settings
    if made.objects:
        named = ", ".join(map(str, made.objects))
        return [f"{len(made.objects)} objects, a mask each: {named} (mask.objects=joined makes one of all)"]
    counts = [len(words.phrases(text)) for text in (settings.source_words, settings.target_words)]
    if settings.mask.objects == "apart" and all(counts) and max(counts) > 1 and not made.unseen:
        return [f"{counts[0]} source words and {counts[1]} target words do not pair up: one mask for all of them"]
    return []


def _of_task(made: Brief) -> Iterator[str]:
    settings = made.settings
    task = TASKS[settings.task]
    if task.words in made.sides:
        yield task.notice
    if task.words == "source":
        old, _ = changed(settings)
        kept = [phrase for phrase in words.phrases(settings.source_words) if phrase not in old]
        if left := words.content(" ".join(old)) & words.content(settings.target or "") - words.content(" ".join(kept)):
            yield f"the target prompt still says {', '.join(sorted(left))}: what is to go may stay"


def of_cuts(found: Sequence[int], fps: float) -> list[str]:
    """The hard cuts that were found in a clip of this rate."""
    return [cuts.notice(found, fps)] if found else []


def of_margins(lost: bool) -> list[str]:
    """Whether a user's mask reaches into what a crop leaves out."""
    return ["part of the mask lies in margins that fit=crop does not edit (fit=pad edits all)"] if lost else []


def of_shots(plan: Plan) -> list[str]:
    """How the model runs the shots; what several have in common is said once, with their numbers."""
    said: dict[str, list[str]] = {}
    first = plan.shots[0]
    if plan.settings.fit == "auto" and first.fit.how == "pad":
        height, width = first.geometry.size
        said[f"the clip is padded to {width}x{height}, which lies the other way (--fit crop fills the frame)"] = [
            str(number) for number in range(1, len(plan.shots) + 1)
        ]
    notices = list(_of_reduction(plan))
    for number, shot in enumerate(plan.shots, 1):
        for text in of_shape(plan.settings, plan.spec, shot.geometry, shot.windows):
            said.setdefault(text, []).append(str(number))
    for text, numbers in list(said.items())[: cuts.MOST]:
        where = f"shot{'s' if len(numbers) > 1 else ''} {listed(numbers)}: "
        notices.append(text if len(numbers) == len(plan.shots) else where + text)
    if (more := len(said) - cuts.MOST) > 0:
        notices.append(f"and {more} more notices of this kind, of other shots")
    return notices


def of_health(made: Health, spec: BackboneSpec) -> list[str]:
    """A word where what a trained model made is black, of one colour or noise, with what to try."""
    sign = made.sign() if spec.trained else None
    if sign is None:
        return []
    advice = "drop --size and --strength, lower --target-guidance-scale" if sign == "noise" else NAN_ADVICE
    return [
        f"what {spec.name} made is {sign}: {advice} (more: flowedit/pipeline/TROUBLESHOOTING.md, black or noisy result)"
    ]


def _of_reduction(plan: Plan) -> Iterator[str]:
    """A clip of which a model of small drawings sees little."""
    if plan.spec.world is None:
        return
    (height, width), own = plan.shots[0].geometry.size, plan.clip.size[1]
    if own > MOST_REDUCED * width:
        yield (
            f"{plan.spec.name} edits this clip at {width}x{height}, 1/{round(own / width)} of its width, and knows a "
            "small drawn world alone: real footage needs a full-size backbone (flowedit list backbones)"
        )


def of_shape(
    settings: Settings, spec: BackboneSpec, geometry: Geometry, windows: Sequence[Window], given: bool = True
) -> list[str]:
    """Where the model's shape differs from what was asked, and where it leaves what the model was trained on.

    Without a `given` clip there is no last frame to repeat.
    """
    notices = []
    height, width = geometry.size
    if settings.frame_size is not None and settings.frame_size != geometry.size:
        notices.append(
            f"size {settings.size} is not a multiple of {spec.multiple}: the nearest valid one is {width}x{height}"
        )
    if not spec.any_size and geometry.size != native_size(spec):
        own = "{1}x{0}".format(*native_size(spec))
        notices.append(f"{spec.name} was trained at {own} alone: at {width}x{height} it may do worse (--size {own})")
    if geometry.frames != geometry.source_frames:
        extra = geometry.frames - geometry.source_frames
        repeated = f"the last is repeated {extra} times for the model, and dropped again"
        made = f"the model makes {geometry.frames}, and the last {extra} are dropped"
        notices.append(f"{geometry.source_frames} frames: {repeated if given else made}")
    return [*notices, *_of_length(spec, windows), *_of_windows(settings, spec, geometry, windows)]


def _of_length(spec: BackboneSpec, windows: Sequence[Window]) -> Iterator[str]:
    """A window whose length the model's training did not have."""
    start, end = windows[0]
    frames, step = 1 + (end - start - spec.leading_latents - 1) * spec.frames_per_latent, spec.trained_step
    if (frames - 1) % step and frames != spec.trained_frames:
        below = frames - 1 - (frames - 1) % step
        lengths = " or ".join(str(each + 1) for each in (below, below + step) if each)
        yield f"{spec.name} was trained on {step} n + 1 frames, not {frames}: --frames {lengths} may do better"


def _of_windows(settings: Settings, spec: BackboneSpec, geometry: Geometry, places: Sequence[Window]) -> list[str]:
    count, trained = geometry.source_frames, f"the {spec.trained_frames} that {spec.name} was trained on"
    if len(places) == 1:
        if count > spec.trained_frames:
            return [f"{count} frames are more than {trained}; the clip runs whole (--window auto runs it in windows)"]
        if isinstance(settings.window, int):
            return [f"window={settings.window} has no effect: the {count} frames of the clip fit one window"]
        return []
    (start, end), (following, _) = places[:2]
    frames = 1 + (end - start - spec.leading_latents - 1) * spec.frames_per_latent
    overlap = (end - following) * spec.frames_per_latent
    run = f"run in {len(places)} windows of {frames} frames, of which neighbours share about {overlap}"
    if frames > spec.trained_frames:
        return [f"{count} frames {run}; a window is longer than {trained}"]
    return [f"{count} frames are more than {trained}: {run}" if settings.window == "auto" else f"{count} frames {run}"]


def facts_of(made: Brief, windows: int | None = None) -> dict[str, tuple[bool, str]]:
    """Facts by the names that options `needs`: whether each holds for this edit, and how it is called.

    `windows`: the most that a shot is run in, where that is known.
    """
    settings, editor, sides = made.settings, made.editor, made.sides
    source, target = made.scales["source"], made.scales["target"]
    guided, scale = source + target if "source" in editor.sides else target, "a guidance scale other than 1"
    if made.from_source:
        away = "mode.target_negative=prompt" if settings.edit_strength is None else "no edit_strength"
        guided, scale = source, f"a source guidance scale other than 1, or {away}"
    several = "several objects: two words or more that pair up"
    user = settings.user_mask is not None
    pairs = words.object_words(settings.source_words, settings.target_words)
    fresh = "mode=inversion_free"
    return {
        "attention": (bool(sides), "an attention mask, and so words"),
        "mask": (bool(sides) or user, "a mask"),
        "user_mask": (user, "a user mask"),
        "several_objects": (made.attended and bool(pairs), several),
        "several_objects_scaled": (made.own_scales, several),
        "common_scale": (not made.own_scales or user, "an object without a scale of its own"),
        "noise": (editor.noise, "a mode that draws noise"),
        "source_velocity": ("source" in editor.sides, "a mode that evaluates the source prompt"),
        "guided_source": (
            "source" in editor.sides and settings.edit_strength is None,
            "a mode that evaluates the source prompt, and no edit_strength",
        ),
        "guided": (any(each != 1 for each in guided), scale),
        "guided_side": (any(each != 1 for each in source + target), "a guidance scale other than 1"),
        "guided_target": (any(each != 1 for each in target), "a target guidance scale other than 1"),
        "own_negative": (settings.edit_strength is None, "no edit_strength, which steers away from the source"),
        "grid_by_steps": (settings.mode.grid != "given", "a grid that is made, not given"),
        "several_windows": (settings.window != "whole" and windows != 1, "a clip longer than its window"),
        "instruction": (settings.instruction is not None, "an instruction"),
        "fresh_noise": (editor.draws, fresh),
        "shared_noise": (False, fresh),
        "several_noises": (False, fresh),
        "several_draws": (settings.draws > 1, "several draws"),
        **editor.facts(settings.mode, made.steps, settings.draws),
    }


def of_unused(made: Brief, windows: int | None = None) -> list[str]:
    """A line for every option that differs from its default while what it needs is not there."""
    settings, facts = made.settings, facts_of(made, windows)
    plain = {"averaging": "mean", "draws": 1}  # so that a preset whose averaging came to nothing is told as well
    mode = settings.mode.preset or settings.mode.name
    backbone = settings.backbone.name if settings.backbone.name in names("backbone") else "folder"
    chosen = {"backbone": backbone, "mode": mode, "task": settings.task}
    usual = compose(chosen | plain | {"mode.grid": settings.mode.grid})  # beside a given one no quality scales steps
    notices = [*_of_quality(settings, usual, chosen | plain), *_of_edit_strength(made)]
    for key, option in declared_by(settings):
        if option.needs is None or value_at(settings, key) == value_at(usual, key):
            continue
        if missing := _missing(option.needs, settings, facts):
            notices.append(f"{key.removesuffix('.name')}={value_at(settings, key)} has no effect: it needs {missing}")
    return notices


def _of_quality(settings: Settings, usual: Settings, flags: Mapping[str, Any]) -> Iterator[str]:
    """A quality beside steps that are not its own."""
    if settings.mode.grid == "given":
        return
    asked = {"quality": settings.quality.name, "quality.share": settings.quality.share, "strength": settings.strength}
    other = settings.quality != usual.quality and compose({**flags, **asked}).steps != settings.steps
    if other or isinstance(settings.quality, OverruledQuality):
        yield f"quality={settings.quality.name} has no effect: steps={settings.steps} is set"


def _of_edit_strength(made: Brief) -> Iterator[str]:
    """An edit strength of 0 beside steps that never look at the source's state."""
    last = min(getattr(made.settings.mode, "target_only_steps", 0), made.steps)
    if made.settings.edit_strength == 0 and last:
        yield f"edit_strength=0 does not keep the clip: mode.target_only_steps={last} goes by the prompt alone"


def _missing(needs: str, settings: Settings, facts: Mapping[str, tuple[bool, str]]) -> str | None:
    """The first of the needs, joined by "and", that does not hold, as a user reads it."""
    for need in needs.split(" and "):
        if found := re.fullmatch(r"([\w.]+)(=|>)(\S+)", need):
            key, sign, wanted = found.groups()
            value = value_at(settings, key)
            good = value is not None and value > float(wanted) if sign == ">" else str(value).lower() == wanted
            if not good:
                return need.replace(">", " above ")
        elif need not in facts:
            raise InputError(f"an option needs {need!r}, which is no fact: one of {', '.join(facts)}, or KEY=VALUE")
        elif not facts[need][0]:
            return facts[need][1]
    return None


def value_at(settings: Settings, key: str) -> Any:
    """The value of a dotted key; None for one that these settings have not, such as another mode's."""
    value: Any = settings
    for name in key.split("."):
        value = getattr(value, name, None)
    return value
