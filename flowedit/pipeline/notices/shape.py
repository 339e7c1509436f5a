"""What is said on how the clip is run, and on what came out: cuts, sizes, lengths, windows, noise."""

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction

from flowedit.config.schema import Settings
from flowedit.flow.windows import Window
from flowedit.media import cuts
from flowedit.messages import NAN_ADVICE, listed
from flowedit.metrics.health import Health
from flowedit.pipeline.plan import Plan, native_size
from flowedit.types import BackboneSpec, Geometry

MOST_REDUCED = 2.5
"""How many times the width that a small model works at a clip may have before the user is told."""


def of_cuts(found: Sequence[int], time: Callable[[int], Fraction]) -> list[str]:
    """The hard cuts that were found in a clip, whose frames have these seconds."""
    return [cuts.notice(found, time)] if found else []


def of_flicker(settings: Settings, frames: int) -> list[str]:
    """What comes of frames that know nothing of each other."""
    told = f"each of the {frames} frames is edited by itself, from the same noise: what is new in them flickers"
    return [told] if settings.frame_by_frame and frames > 1 else []


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
    notices = [*_of_reduction(plan), *_of_upscale(plan)]
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
    """Whatever is no small clip of the shape that a model of small drawings learned, such as any photo."""
    if plan.spec.world is None:
        return
    (height, width), video = plan.shots[0].geometry.size, plan.clip.video
    own = plan.clip.size[1]
    if video.still or own > MOST_REDUCED * width or not _has_shape(video.shown, native_size(plan.spec)):
        less = f", 1/{round(own / width)} of its width" if own > MOST_REDUCED * width else ""
        yield (
            f"{plan.spec.name} edits this {'picture' if video.still else 'clip'} at {width}x{height}{less}, and knows "
            "a small drawn world alone: real footage needs a full-size backbone (flowedit list backbones)"
        )


def _has_shape(size: tuple[int, int], native: tuple[int, int]) -> bool:
    """Whether the sides have the ratio of the native ones, up to a pixel."""
    return abs(size[0] * native[1] - size[1] * native[0]) <= max(native)


def _of_upscale(plan: Plan) -> Iterator[str]:
    """An upscaler that has nothing to make larger."""
    fit, asked = plan.shots[0].fit, plan.settings.upscale
    if asked is None:
        return
    if not plan.settings.strength:
        yield f"upscale={asked} has no effect: at strength 0 the clip itself comes back"
    elif not fit.enlarges:
        (height, width), (tall, wide) = fit.working, fit.source
        yield f"upscale={asked} has no effect: the working size {width}x{height} is not below the clip's {wide}x{tall}"


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
        often = "once" if extra == 1 else f"{extra} times"
        repeated = f"the last is repeated {often} for the model, and dropped again"
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
            held = "one frame of the clip fits" if count == 1 else f"{count} frames of the clip fit"
            return [f"window={settings.window} has no effect: the {held} one window"]
        return []
    (start, end), (following, _) = places[:2]
    frames = 1 + (end - start - spec.leading_latents - 1) * spec.frames_per_latent
    overlap = (end - following) * spec.frames_per_latent
    run = f"run in {len(places)} windows of {frames} frames, of which neighbours share about {overlap}"
    if frames > spec.trained_frames:
        return [f"{count} frames {run}; a window is longer than {trained}"]
    return [f"{count} frames are more than {trained}: {run}" if settings.window == "auto" else f"{count} frames {run}"]
