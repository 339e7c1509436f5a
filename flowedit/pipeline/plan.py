"""What an edit will do, resolved once: its objects, sides, scales, grid, windows, sizes and cost; the rest reads it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from flowedit.backbones import shapes
from flowedit.backbones.presets import Load
from flowedit.config.schema import Settings
from flowedit.editors.spec import EDITORS, Counts, EditorSpec
from flowedit.flow import schedule, windows
from flowedit.flow.guidance import WHOLE, check_known, holds
from flowedit.flow.rows import calls, groups
from flowedit.flow.schedule import ModelTimes
from flowedit.language import words
from flowedit.media.fit import lay, working_size
from flowedit.messages import InputError
from flowedit.pipeline.source import Clip, Shot
from flowedit.types import Backbone, BackboneSpec, Geometry, Guidance, Side

LOOK_DRAWS = 2
"""Draws of noise of each of two velocities that `mask.blocks=auto` looks at."""


@dataclass(frozen=True, eq=False)
class Brief:
    """What the settings alone decide, before there is a backbone or a clip."""

    settings: Settings
    editor: EditorSpec
    attended: bool
    """Whether the mask is to come from attention, if there are words."""
    difference: bool
    """Whether the difference of the velocities has a say in the mask: of mask=attention near the objects alone."""
    unseen: bool
    """Whether one of several objects has its words where no prompt is evaluated, and so no mask."""
    objects: tuple[words.ObjectWords, ...]
    """The objects that have masks of their own, two or more; () for one mask of all words."""
    sides: Mapping[Side, str]
    """Sides whose attention is read, with their words."""
    from_source: bool
    """Whether the target's guidance steers away from the source prompt, and not from the negative one."""
    own_scales: bool
    """Whether each object is guided by a scale of its own."""
    region: tuple[float, int] | None
    """(margin in shorter sides of the latent, steps between two whole ones) of the region pass; None without one."""
    scales: Mapping[Side, tuple[float, ...]]
    """Guidance scales of both sides. The target has one for each edited object and one for what is beyond, or one."""
    steps: int
    """Intervals of the grid that are run."""
    parts: tuple[str, ...]
    """The parts of the target that the editor takes beside it."""
    guidance: Guidance = "free"
    """How a scale acts on the backbone, as far as that is known without it; `told` knows it."""

    def cost(self, grid: Sequence[float]) -> int:
        """Batch rows that one window of one shot sends through the network on this grid; `run.yaml` has those of all.

        A velocity with classifier-free guidance (a scale other than 1, at a time inside `guidance_interval`) takes two
        rows, or three by guidance_rule=rectified; scales for several objects take no more rows than one, as a guided
        velocity is affine in its scale. The rest is the editor's (`EditorSpec.cost`).
        """
        rule = self.settings.guidance_rule  # one of which looks ahead, by a row in a call of its own
        rows = {side: rows_of(self, side) for side in self.scales}
        return self._rows(grid, {side: 3 if n == 2 and rule == "rectified" else n for side, n in rows.items()})

    def guides(self, grid: Sequence[float]) -> bool:
        """Whether any velocity of this grid is guided."""
        return self.cost(grid) > self._rows(grid, dict.fromkeys(self.scales, 1))

    def negative(self, side: Side) -> str | None:
        """The prompt that a side's guidance goes away from; None where nothing is, or the network is told the scale.

        Beside a rule of guidance and scales below 1, for which a network that is told its scale has no word, the empty
        prompt is one.
        """
        settings, own = self.settings, None
        if set(self.scales[side]) == {1.0}:
            return None
        if side == "target":
            if self.from_source:
                return settings.source or ""
            own = settings.target_negative_prompt
        text = settings.negative_prompt if own is None else own
        free = self.guidance != "embedded" or settings.guidance_rule != "plain" or min(self.scales[side]) < 1.0
        return text if free or text.strip() else None

    @property
    def looks_for_block(self) -> bool:
        """Whether the block whose attention is read is looked for before the edit."""
        return bool(self.sides) and self.settings.mask.blocks == "auto"

    def _rows(self, grid: Sequence[float], inside: Mapping[Side, int]) -> int:
        interval = self.interval

        def counted(side: Side) -> Callable[[Sequence[float]], int]:
            return lambda times: sum(inside[side] if holds(interval, t) else 1 for t in times)

        counts = Counts(grid, counted("source"), counted("target"), self.settings.draws, len(self.parts))
        return self.editor.cost(self.settings.mode, counts) + (2 * LOOK_DRAWS if self.looks_for_block else 0)

    @property
    def interval(self) -> tuple[float, float]:
        """The times at which velocities are guided, (a, b).

        An edit strength acts at all times: at 0 none of the steps that see both prompts may leave the clip.
        """
        if self.settings.edit_strength is not None and self.reads_source:
            return WHOLE
        first, last = self.settings.guidance_interval
        return first, last

    @property
    def masked(self) -> bool:
        """Whether there is a mask: of attention, of the difference, or the user's."""
        return bool(self.sides) or self.difference or self.settings.marked

    @property
    def asks_difference(self) -> bool:
        """Whether the mask cannot do without the difference; `mask.sharpen` takes it where there is one."""
        return self.difference and (self.settings.mask.name != "attention" or self.settings.mask.dependents > 0)

    @property
    def reads_source(self) -> bool:
        """Whether the source prompt is evaluated."""
        return _reads_source(self.settings, self.editor)

    @property
    def edited(self) -> tuple[words.ObjectWords, ...]:
        """Those of the objects that are not kept."""
        return tuple(each for each in self.objects if not each.kept)


def brief(settings: Settings) -> Brief:
    """The brief of these settings; raises InputError for another number of scales than of edited objects."""
    editor = EDITORS[settings.mode.name]
    replaced = settings.marked and settings.mask.user == "replace"
    attended = settings.mask.name in ("attention", "both") and not replaced
    apart = attended and settings.mask.objects == "apart"
    pairs = words.object_words(settings.source_words, settings.target_words) if apart else ()
    reads_source = _reads_source(settings, editor)
    unseen = not reads_source and not all(each.target for each in pairs)
    objects = () if unseen else pairs
    sides: dict[Side, str] = {}
    if attended and not unseen:
        texts: dict[Side, str] = {"source": settings.source_words, "target": settings.target_words}
        seen = [side for side in editor.sides if side == "target" or reads_source]
        sides = {side: text for side, text in texts.items() if side in seen and words.phrases(text)}
        if sides and "source" in seen and words.phrases(settings.also_words):
            sides.setdefault("source", "")
    near = settings.mask.name == "attention" and settings.mask.dependents > 0
    sharp = settings.mask.sharpen > 0 and editor.difference != "none"
    alone = settings.mask.name in ("difference", "both") and not replaced
    difference = alone or (bool(sides) and (near or sharp))
    # After FlowSlider (arXiv 2604.02088), V_fid + s V_steer. Ours: V_fid = u(p, src) - u(q, src) without guidance, and
    # V_steer = g [u(p, tgt) - u(p, src)]. There all three are guided alike, so that s = 1 is FlowEdit; here s = 1 is
    # FlowAlign's rule without its pull.
    pull = settings.edit_strength if reads_source else None
    scales: dict[Side, tuple[float, ...]] = {
        "source": (settings.source_guidance_scale if pull is None else 1.0,),
        "target": tuple((1.0 if pull is None else pull) * each for each in _target_scales(settings, objects)),
    }
    away = pull is not None or editor.negative(settings.mode) == "source"
    steps = intervals(settings)
    parts = settings.target_parts or ()
    if editor.parts == "cumulative":  # the last of these is the target, which runs beside them anyway
        parts = tuple(part for part in parts if part != settings.target)
    own = settings.object_guidance_scales is not None and bool(objects)
    region = editor.region(settings.mode) if sides or difference or settings.marked else None
    kind: Guidance = "free" if (spec := shapes.known(settings.backbone)) is None else spec.guidance
    return Brief(
        settings, editor, attended, difference, unseen, objects, sides, away, own, region, scales, steps, parts, kind
    )


def _reads_source(settings: Settings, editor: EditorSpec) -> bool:
    return "source" in editor.sides and not editor.unprompted(settings.mode)


def _target_scales(settings: Settings, objects: Sequence[words.ObjectWords]) -> tuple[float, ...]:
    """One scale for each edited object, and target_guidance_scale for what is beyond: a user mask that joins."""
    scales = settings.object_guidance_scales
    if scales is None or not objects:
        return (settings.target_guidance_scale,)
    changed = [each for each in objects if not each.kept]
    if len(scales) != len(changed):
        named, count = ", ".join(map(str, changed)), len(changed)
        much = "1 number, for the object" if count == 1 else f"{count} numbers, one for each object"
        raise InputError(
            f"object_guidance_scales {','.join(f'{scale:g}' for scale in scales)}: give {much} that is edited ({named})"
        )
    return (*scales, settings.target_guidance_scale) if settings.marked else scales


def intervals(settings: Settings) -> int:
    """How many intervals of the grid are run."""
    steps = whole_grid(settings)
    return schedule.intervals(settings.strength, steps)


def whole_grid(settings: Settings) -> int:
    """How many intervals the grid has at strength 1."""
    return len(settings.mode.times or ()) - 1 if settings.mode.grid == "given" else settings.steps


def network_evaluations(settings: Settings) -> int:
    """Batch rows that one window of one shot sends through the network.

    How many shots and windows a clip has depends on its frames and on the backbone, which are not known here; methods
    on one clip are compared by the cost of one window of one shot, see `Brief.cost`. Raises InputError as `foreseen`.
    """
    made = brief(settings)
    return made.cost(foreseen(made))


def foreseen(made: Brief) -> Sequence[float]:
    """The grid of an edit whose backbone is not loaded, as far as its cost depends on it.

    Where no interval of guidance acts that is the number of its steps. With one the times are those of the backbone's
    files; raises InputError where neither they are here nor a release of its name is known.
    """
    if made.interval == WHOLE or all(rows_of(made, side) == 1 for side in made.editor.sides):
        return [*(1.0 - i / made.steps for i in range(made.steps)), 0.0]
    from flowedit.backbones import families  # torch: only for these times

    return grid_of(made.settings, families.times_of(made.settings.backbone))


@dataclass(frozen=True, eq=False)
class Plan:
    """An edit, whole: the brief, the backbone's facts, the times that are run, and the shots of the clip."""

    brief: Brief
    spec: BackboneSpec
    grid: tuple[float, ...]
    clip: Clip
    shots: tuple[Shot, ...]

    @property
    def settings(self) -> Settings:
        """The settings that it comes from."""
        return self.brief.settings

    @property
    def evaluations(self) -> int:
        """Batch rows that all windows of all shots send through the network."""
        return self.brief.cost(self.grid) * sum(len(shot.windows) for shot in self.shots)

    @property
    def geometry(self) -> Geometry:
        """The shape of the shots' latents one after the other; the one shot's own."""
        parts = [shot.geometry for shot in self.shots]
        channels, _, height, width = parts[0].latent
        latents = sum(part.latent[1] for part in parts)
        frames, source_frames = sum(part.frames for part in parts), sum(part.source_frames for part in parts)
        return Geometry(source_frames, frames, parts[0].size, (channels, latents, height, width))


def make_plan(brief: Brief, backbone: Backbone, clip: Clip, cuts: Sequence[int]) -> Plan:
    """The plan of a clip whose shots begin at 0 and at `cuts`, counted among the frames that are read.

    Frame by frame each is a shot of its own, and so from the same noise.
    """
    settings, spec, count = brief.settings, backbone.spec, len(clip.selection.indices)
    video = clip.video
    size = asked_size(settings, spec) or default_size(spec, video.shown)
    shots = []
    for first, end in pairwise(range(count + 1) if settings.frame_by_frame else [0, *cuts, count]):
        geometry = backbone.geometry(end - first, size)
        how = how_to_lay(settings, video.shown, geometry.size)
        fit = lay(clip.size, geometry.size, how, video.pixel_aspect)
        places = tuple(windows_of(settings, spec, geometry.latent[1]))
        shots.append(Shot(first, clip.selection.between(first, end), geometry, fit, places))
    return Plan(brief, spec, tuple(make_grid(settings, backbone, shots[0].geometry)), clip, tuple(shots))


def asked_size(settings: Settings, spec: BackboneSpec) -> tuple[int, int] | None:
    """A user's own working (height, width), if any; raises InputError for one in which the model sees no picture."""
    least = 2 * spec.multiple
    if settings.frame_size is not None and min(settings.frame_size) < least:
        raise InputError(f"size {settings.size} is too small for {spec.name}: give sides of {least} pixels or more")
    return settings.frame_size


def default_size(spec: BackboneSpec, source: tuple[int, int]) -> tuple[int, int]:
    """The working (height, width) without a user's own: the one that the model was trained at, or any of its area."""
    return working_size(source, spec.native_area, spec.multiple, spec.max_side) if spec.any_size else native_size(spec)


def how_to_lay(settings: Settings, source: tuple[int, int], working: tuple[int, int]) -> str:
    """crop or pad: as asked; of itself crop, but a portrait clip is padded in a landscape frame, and so is its like."""
    if settings.fit != "auto":
        return settings.fit
    turned = (source[0] - source[1]) * (working[0] - working[1]) < 0  # a crop would leave less than half of the clip
    return "pad" if turned else "crop"


def make_grid(settings: Settings, backbone: Backbone, geometry: Geometry | None = None) -> list[float]:
    """The times that are run on a clip of this shape by this backbone, see `grid_of`.

    A shift that grows with the tokens is that of what the network sees at once; without a shape, of what it learned.
    """
    spec, size, seen = backbone.spec, None, 1
    if spec.shift_growth:
        size = native_size(spec) if geometry is None else geometry.size
        places = () if geometry is None else windows_of(settings, spec, geometry.latent[1])
        seen = max((end - start for start, end in places), default=1)
    shift = spec.shift if size is None else spec.shift_at(size, seen)
    return grid_of(settings, ModelTimes(backbone.knots, shift, spec.strength_shift))


def grid_of(settings: Settings, times: ModelTimes) -> list[float]:
    """The times that are run on a model with these, see `schedule.chosen`."""
    mode, steps, strength = settings.mode, settings.steps, settings.strength
    return schedule.chosen(times, mode.grid, steps, strength, shift=mode.shift, given_times=mode.times)


def windows_of(settings: Settings, spec: BackboneSpec, latents: int) -> list[windows.Window]:
    """Where a clip of `latents` latent frames is seen by the network, in one window or several.

    A window of n frames is the latents that hold them at the start of a clip, in whole patches of the network. Raises
    InputError for one that is longer than the network knows places for.
    """
    if settings.window == "whole":
        window = latents
    else:
        frames = spec.trained_frames if settings.window == "auto" else settings.window
        held = 1 - (-(frames - 1) // spec.frames_per_latent) + spec.leading_latents
        window = min(latents, -(-held // spec.patch_frames) * spec.patch_frames)
    if spec.max_latents is not None and window > spec.max_latents:
        longest, asked = (1 + (n - 1) * spec.frames_per_latent for n in (spec.max_latents, window))
        raise InputError(
            f"window {settings.window} is {asked} frames of this clip, longer than {longest}, the most that "
            f"{spec.name} knows at once: give that many or fewer, or auto"
        )
    return windows.places(latents, window, settings.window_overlap, spec.patch_frames)


def seen_of(geometry: Geometry, places: Sequence[windows.Window]) -> tuple[int, int, int, int]:
    """The latent (C, F, H, W) of the longest of the windows: what the network sees at once."""
    channels, _, height, width = geometry.latent
    return channels, max(end - start for start, end in places), height, width


def load_of(of: Brief, latent: tuple[int, int, int, int], windows: int = 1) -> Load:
    """What memory follows from: the latent (C, F, H, W) that the network sees at once, rows of a call, draws.

    `windows` are the most of a shot: of several, what is taken of the source's attention waits on the host.
    """
    also = len(words.phrases(of.settings.also_words)) * max(1, len(of.edited))
    draws, objects = of.settings.draws, max(1, len(of.objects)) + also if of.sides else 0
    source, target = (rows_of(of, side) for side in ("source", "target"))
    rows = max(target, source if "source" in of.editor.sides else 1)
    if of.region is None:
        taken, times = of.settings.attention.tensors * source * draws, _times_that_wait(of)
        if times == 0 and windows == 1:
            return Load(latent, rows * draws, draws, objects, taken=taken)
        return Load(latent, rows * draws, draws, objects, waits=taken * windows * max(1, times))
    ours, theirs = [object() for _ in range(source)], [object() for _ in range(target)]
    found = calls(groups(ours, [*ours[-1:], *theirs[1:]] if of.from_source and target == 2 else theirs), 0)
    lanes = 1 + max(len(group.targets) for call in found for group in call)
    return Load(latent, rows * draws, draws, objects, (max(map(len, found)) * draws, lanes))


def _times_that_wait(of: Brief) -> int:
    """Velocities of a way up, at most, whose attention waits for the way down; 0 without such a way."""
    if not of.editor.rises(of.settings.mode, of.steps):
        return 0
    solver = of.editor.solver(of.settings.mode)  # that of Heun comes to the same times twice
    chosen = of.settings.attention.steps_that_take(of.steps)
    return chosen and chosen * (2 if solver == "midpoint" else 1) + 1


def rows_of(of: Brief, side: Side) -> int:
    """Batch rows of a call of a velocity: two with guidance, and one at scale 1, or where the network is told it."""
    return 1 if of.negative(side) is None else 2


def told(made: Brief, spec: BackboneSpec) -> Brief:
    """The brief on a backbone: its scales act as that one's do; raises InputError for scales that it does not know."""
    for side in made.editor.sides:
        check_known(spec.name, spec.guidance, made.scales[side])
    return replace(made, guidance=spec.guidance)


def own_latents(spec: BackboneSpec, geometry: Geometry) -> slice:
    """The latent frames that hold the clip's own frames, without leading ones and those of padding."""
    last = 1 + -(-(geometry.source_frames - 1) // spec.frames_per_latent)
    return slice(spec.leading_latents, spec.leading_latents + last)


def native_size(spec: BackboneSpec) -> tuple[int, int]:
    """(height, width) in pixels that the backbone was trained at."""
    height, width = spec.latent_size
    scale = round((spec.native_area / (height * width)) ** 0.5)
    return height * scale, width * scale
