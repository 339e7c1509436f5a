"""The shapes of clips that a checkpoint takes, from its configuration alone; torch and diffusers are not needed."""

from contextlib import suppress
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

from flowedit.backbones import memory
from flowedit.backbones.options import BackboneOptions
from flowedit.backbones.sheet import Blueprint, Config
from flowedit.messages import InputError
from flowedit.pretrained import layout
from flowedit.types import BackboneSpec, Geometry


def of_blueprint(drawn: Blueprint, notes: Config) -> BackboneSpec:
    """The spec of a checkpoint by its files; `notes` are those of flowedit.json, if it is one of ours."""
    return drawn.sheet.spec(drawn, notes)


def known(chosen: BackboneOptions) -> BackboneSpec | None:
    """The spec of a backbone by its folder's files or its release's words; None where neither says it.

    Files that lack something are refused when they are opened.
    """
    place = None if chosen.path is None else Path(chosen.path)
    if place is None and chosen.packaged is not None:
        place = Path(str(files("flowedit"))) / chosen.packaged
    drawn = None
    with suppress(InputError, OSError):
        drawn = memory.released(chosen.name or "") if place is None else memory.of_folder(place)
    if drawn is None:
        return None
    name = chosen.name if place is None or chosen.path is None else None
    notes = {} if place is None else layout.notes(place)
    return replace(of_blueprint(drawn, notes), name=name or (place or Path()).resolve().name)


def releases_like(folder: Path) -> tuple[str, ...]:
    """The releases of a checkpoint folder's family that take guidance as it does; none where its files do not say.

    Sizes do not count: what a guidance scale means is the same in each of them.
    """
    with suppress(InputError, OSError):
        if (drawn := memory.of_folder(folder)) is not None:
            own = of_blueprint(drawn, layout.notes(folder)).guidance
            every = {name: memory.released(name) for name in drawn.sheet.releases}
            return tuple(name for name, each in every.items() if each and of_blueprint(each, {}).guidance == own)
    return ()


def geometry(
    spec: BackboneSpec, channels: int, scale: int, frame_step: int, frames: int, size: tuple[int, int]
) -> Geometry:
    """The nearest valid shape of a clip of `frames` at about size (height, width).

    `frame_step` k + 1 frames (the last is repeated), sides in multiples of the autoencoder's `scale` and the network's
    patches. Raises InputError for no frames, and for a side that the model has no positions for.
    """
    if frames < 1:
        raise InputError(f"a clip of {frames} frames has nothing to edit")
    whole = 1 + frame_step * -(-(frames - 1) // frame_step)
    height, width = (max(spec.multiple, round(s / spec.multiple) * spec.multiple) for s in size)
    if spec.max_side is not None and max(height, width) > spec.max_side:
        raise InputError(f"size {width}x{height} has a side over {spec.max_side}, the most that {spec.name} knows")
    latents = 1 + (whole - 1) // spec.frames_per_latent + spec.leading_latents
    return Geometry(frames, whole, (height, width), (channels, latents, height // scale, width // scale))


def geometry_of(drawn: Blueprint, spec: BackboneSpec, frames: int, size: tuple[int, int]) -> Geometry:
    """The same, of a checkpoint by its files."""
    step, channels = drawn.sheet.frame_step(spec), drawn.sheet.denoiser.channels(drawn.denoiser)
    return geometry(spec, channels, drawn.scale, step, frames, size)
