"""The models that are asked about: where each is, what its files say, and how a clip lies on it; no torch is loaded."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from flowedit.backbones import memory, shapes
from flowedit.backbones.sheet import Blueprint, noted
from flowedit.config import compose, plugins
from flowedit.config.defaults import default_of, of_quality, read
from flowedit.config.folder import folder
from flowedit.config.schema import Settings
from flowedit.flow.windows import Window
from flowedit.media.probe import Video
from flowedit.media.reader import select
from flowedit.messages import InputError
from flowedit.pipeline.plan import asked_size, default_size, native_size, seen_of, windows_of
from flowedit.pretrained import layout
from flowedit.types import BackboneSpec, Geometry

USUAL_TASK = "replace"
"""What is none of the others, and so an edit of which nothing is said yet."""


@dataclass(frozen=True, eq=False)
class AskedModel:
    """A backbone that settings name: its folder if it is here, and what its files say; None where nothing is known."""

    name: str
    settings: Settings
    folder: Path | None
    drawn: Blueprint | None
    spec: BackboneSpec | None

    @property
    def download(self) -> str | None:
        """The size of what is still to come; None where nothing is."""
        return None if self.folder is not None else self.settings.backbone.download or "unknown"


@dataclass(frozen=True)
class ClipWork:
    """A clip as a model runs it: its working shape, and the windows of latent frames that the network sees at once."""

    geometry: Geometry
    windows: tuple[Window, ...]

    @property
    def seen(self) -> tuple[int, int, int, int]:
        """The latent (C, F, H, W) of the longest window."""
        return seen_of(self.geometry, self.windows)


def named() -> list[str]:
    """The backbones with a name, the one that comes with flowedit first."""
    ours = sorted(path.stem for path in (folder() / "backbone").glob("*.yaml"))
    every = dict.fromkeys([*ours, *plugins.names("backbone")])
    return sorted((name for name in every if name != "folder"), key=lambda name: name != "pocket")


def models(flags: Mapping[str, Any], overrides: Sequence[str], cache: Path) -> Iterator[AskedModel]:
    """The backbone that is asked about, or all with a name; `cache` is the hub's.

    Raises InputError for an unknown one, a folder that is no checkpoint, and values that an edit refuses.
    """
    if "backbone" in flags:
        yield found(compose.compose(flags, overrides), cache)
        return
    for name in named():
        alone = not flags and not overrides and read(f"backbone/{name}")
        made = compose.settings(usual(name)) if alone else compose.compose({**flags, "backbone": name}, overrides)
        yield found(made, cache)


def usual(name: str) -> dict[str, Any]:
    """The configuration of a named backbone's default edit, as `config.compose` has it, as plain values.

    Read without Hydra, whose compositions take most of a second for all backbones.
    """
    chosen = {group: default_of(group)[0] for group in ("mask", "averaging", "attention", "runtime", "mode", "quality")}
    mode, own = chosen["mode"], read(f"backbone/{name}")
    layers = [
        read("edit"),
        *({group: read(f"{group}/{chosen[group]}")} for group in ("mask", "averaging", "attention", "runtime")),
        read(f"mode/{mode}"),
        own if "backbone" in own else {"backbone": own},
        read(f"backbone_mode/{name}_{mode}"),
        of_quality(name, mode, chosen["quality"]),
        read(f"backbone_mode_task/{name}_{mode}_{USUAL_TASK}"),
        {"task": USUAL_TASK},
        read(f"quality/{chosen['quality']}"),
    ]
    merged: dict[str, Any] = functools.reduce(_over, layers, {})
    return {key: value for key, value in merged.items() if key != "defaults"}


def _over(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """One configuration over another, group by group."""
    both = {
        key: _over(under[key], value) if isinstance(value, dict) and isinstance(under.get(key), dict) else value
        for key, value in over.items()
    }
    return {**under, **both}


def found(settings: Settings, cache: Path) -> AskedModel:
    """The backbone of these settings, as far as files that are here say."""
    chosen = settings.backbone
    place: Path | None = None
    drawn = None
    if chosen.path is not None:
        place = Path(chosen.path)
        if not (place / "model_index.json").is_file():
            raise InputError(f"backbone {chosen.path!r} is no checkpoint: give a folder that save_pretrained wrote")
    elif chosen.packaged is not None:
        place = Path(str(files("flowedit"))) / chosen.packaged
    elif chosen.repository is not None:
        place = layout.cached(cache, chosen.repository)
        drawn = memory.released(chosen.name or "") if place is None else None
    else:
        raise InputError("backbone=folder needs backbone.path=DIR (on the command line, --backbone DIR)")
    notes: dict[str, Any] = {}
    if place is not None:
        if lost := layout.lacking(place):
            raise InputError(f"backbone {str(place)!r} lacks {lost[0]}: download it again")
        drawn = memory.of_folder(place)
        notes = layout.notes(place)
    name = chosen.name or (place.resolve().name if place is not None else str(chosen.repository))
    notes = {**noted(chosen.name), **notes}
    return AskedModel(name, settings, place, drawn, None if drawn is None else _spec(drawn, notes, name, place))


def _spec(drawn: Blueprint, notes: dict[str, Any], name: str, place: Path | None) -> BackboneSpec:
    world = None if place is None else layout.world(place, notes)
    return replace(shapes.of_blueprint(drawn, notes), name=name, world=world)


def work(model: AskedModel, video: Video | None) -> ClipWork | None:
    """How a clip, or one of the length and size that the model was trained on, lies on it; None of an unknown model.

    The clip counts as one shot: hard cuts are not looked for. A model of single pictures sees it frame by frame. Raises
    InputError as an edit does, for frames or a size that cannot be.
    """
    settings, spec, drawn = model.settings, model.spec, model.drawn
    if spec is None or drawn is None:
        return None
    frames = settings.frames or spec.trained_frames
    if video is not None:
        frames = len(select(video, settings.start, settings.frames, settings.rate).indices)
    own = native_size(spec) if video is None else default_size(spec, video.shown)
    alone = settings.frame_by_frame or spec.still
    geometry = shapes.geometry_of(drawn, spec, 1 if alone else frames, asked_size(settings, spec) or own)
    windows = windows_of(settings, spec, geometry.latent[1])
    return ClipWork(geometry, tuple(windows * frames if alone else windows))
