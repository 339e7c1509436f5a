"""What is said before the networks run: a download, what it needs, and one line on what will run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from flowedit.backbones import memory, presets, shapes
from flowedit.backbones.presets import MemoryPreset
from flowedit.backbones.sheet import noted
from flowedit.config.defaults import memory_presets
from flowedit.config.schema import Settings
from flowedit.flow.guidance import TOLD, WHOLE
from flowedit.machine import device_name, free_memory
from flowedit.pipeline.plan import (
    Brief,
    Plan,
    asked_size,
    brief,
    load_of,
    native_size,
    rows_of,
    seen_of,
    whole_grid,
    windows_of,
)
from flowedit.pipeline.region import has_region
from flowedit.types import Backbone, BackboneSpec, Evaluations, Side

if TYPE_CHECKING:
    import torch

SAID = 0.5
"""GiB from which the memory that is expected is worth a word."""


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
    spec = replace(shapes.of_blueprint(drawn, noted(name)), name=name)
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
    if (drawn := memory.of_backbone(backbone)) is None:
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
    windows = f" in {shape.windows} window{'' if shape.windows == 1 else 's'}"
    shots = f", {shape.shots} shots" if shape.shots > 1 else ""
    if made.settings.frame_by_frame and shape.frames > 1:
        windows, shots = " one by one", ""
    frames = f"{shape.frames} frame{'' if shape.frames == 1 else 's'}"
    steps, whole = len(shape.grid) - 1, whole_grid(made.settings)
    cut = "" if steps == whole else f"{steps} of "
    strength = "" if steps == whole else f" (strength {made.settings.strength:g})"
    begins = f" from noise {shape.grid[0]:.3g}" if steps else ""
    expected = _expected(made, backbone, shape, about)
    less = " (the target's inside the mask alone)" if region else ""
    free = free_memory(backbone.device)
    laid = f" (offload {about['offload']}; {free:.1f} GiB free)" if free is not None and "offload" in about else ""
    return (
        f"{where}: {width}x{height}, {frames}{windows}{shots}, {cut}{whole} step{'' if whole == 1 else 's'}"
        f"{strength}{begins}, {evaluations} network evaluations{less}{expected}{laid}"
    )


def of_guidance(made: Brief, name: str) -> list[str]:
    """How the guidance scales act on a network that is told its scale."""
    guided = [side for side in made.editor.sides if set(made.scales[side]) != {1.0}]
    if made.guidance != "embedded" or not guided:
        return []
    free = [side for side in guided if made.negative(side) is not None]
    if len(free) < len(guided):
        rule = f"{name} takes guidance as an input: one row where there is no negative prompt, two where there is one"
        return [
            rule,
            *(_unusual(made, name, side) for side in guided if side not in free and max(made.scales[side]) > TOLD),
        ]
    return [f"beside a negative prompt guidance of {name} is classifier-free: two rows, each told the scale 1"]


def _unusual(made: Brief, name: str, side: Side) -> str:
    """What is said of a scale that the network is told, far above all that it is run at."""
    option = "object_guidance_scales" if side == "target" and made.own_scales else f"{side}_guidance_scale"
    scale = max(made.scales[side])
    return (
        f"{option}={scale:g} is told to {name}, and networks that are told theirs are run at 1 to {TOLD:g}: "
        "set a lower one, such as 5"
    )


def of_means(made: Brief, spec: BackboneSpec) -> list[str]:
    """What users hear of a way up by a model of mean velocities, of steps down, unless it inverts them."""
    mode = made.settings.mode
    rises = spec.mean and made.editor.rises(mode, made.steps)
    if not rises or made.editor.solver(mode) == "uni_inv":
        return []
    can = "set mode.solver=uni_inv" if hasattr(mode, "solver") else "take --mode inversion mode.solver=uni_inv"
    return [
        f"{spec.name} knows mean velocities of steps down, and the way up is off by a step: {can}, which is the inverse"
    ]


def of_interval(made: Brief, grid: Sequence[float]) -> list[str]:
    """An interval of guidance in which no velocity of this grid lies."""
    guided = any(rows_of(made, side) > 1 for side in made.editor.sides)
    if made.interval == WHOLE or not guided or len(grid) == 1 or made.guides(grid):
        return []
    first, last = made.interval
    times = ", ".join(f"{t:.3g}" for t in grid[:-1])
    return [f"guidance_interval={first:g},{last:g} guides no step: they begin at the times {times}"]


def of_largest(backbone: Backbone, grid: Sequence[float]) -> list[str]:
    """An edit that begins at the largest time of a model that never saw noise alone, as of one that predicts noise."""
    top = float(backbone.knots[0])
    if top == 1.0 or len(grid) == 1 or grid[0] < top:
        return []
    return [f"{backbone.spec.name} was not trained on noise alone: this starts at t = {top:.4g}, its largest time"]


def of_pass(made: Brief, backbone: Backbone) -> list[str]:
    """A region pass that the backbone does not have, or that passes compiled blocks by."""
    if made.region is None:
        return []
    if has_region(backbone):
        compiled = made.settings.runtime.compile
        return ["runtime.compile has no effect with mode.region=true, but in whole steps"] if compiled else []
    return [f"mode.region=true has no effect: {backbone.spec.name} evaluates whole frames alone"]


def of_saved(plan: Plan, backbone: Backbone, sent: Evaluations) -> list[str]:
    """After the edit: a region pass that evaluated the whole frame in all steps."""
    if plan.brief.region is None or not has_region(backbone) or len(plan.grid) < 3 or sent.tokens < sent.rows:
        return []
    margin, _ = plan.brief.region
    return [
        f"mode.region=true saved nothing: the mask and its margin (mode.region_margin={margin:g}) cover the whole frame"
    ]
