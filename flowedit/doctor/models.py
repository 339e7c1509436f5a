"""The models that are asked about: where each is, what its files say, and how a clip lies on it; no torch is loaded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from flowedit.backbones import memory, shapes
from flowedit.backbones.memory import Blueprint
from flowedit.config import plugins
from flowedit.config.defaults import default_of, read
from flowedit.config.folder import folder
from flowedit.config.options import build
from flowedit.config.schema import Settings
from flowedit.flow.windows import Window
from flowedit.media.probe import Video
from flowedit.media.reader import select
from flowedit.messages import InputError
from flowedit.pipeline.plan import asked_size, default_size, native_size, seen_of, windows_of
from flowedit.pretrained import layout
from flowedit.types import BackboneSpec, Geometry

NOTES = "flowedit.json"
"""What a checkpoint of ours says of itself."""


@dataclass(frozen=True, eq=False)
class AskedModel:
    """A backbone that settings name: its folder if it is here, and what its files say; None where nothing is known."""

    name: str
    settings: Settings
    flags: Mapping[str, Any]
    overrides: Sequence[str]
    """What was asked of it, as `config.compose` takes it."""
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


def compose_plain(flags: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """The plain values of the configuration that these compose."""
    from flowedit.config import compose

    return compose.plain(flags, overrides)


def without_mode(values: Mapping[str, Any]) -> Settings:
    """Settings whose mode and averaging are plain values, which are not looked at: their rooms import torch."""
    made: Settings = build(Settings, values, classes={"mode": dict, "averaging": dict})
    return made


def models(flags: Mapping[str, Any], overrides: Sequence[str], cache: Path) -> Iterator[AskedModel]:
    """The backbone that is asked about, or all with a name; `cache` is the hub's.

    Raises InputError for an unknown one, a folder that is no checkpoint, and values that an edit refuses.
    """
    if "backbone" in flags:
        yield found(without_mode(compose_plain(flags, overrides)), flags, overrides, cache)
        return
    for name in named():
        each = {**flags, "backbone": name}
        alone = not flags and not overrides and read(f"backbone/{name}")
        values = usual(name) if alone else compose_plain(each, overrides)
        yield found(without_mode(values), each, overrides, cache)


def usual(name: str) -> dict[str, Any]:
    """The plain values of a named backbone's default edit, as far as memory follows from them.

    Read without Hydra, whose import and compositions take most of a second for all backbones.
    """
    groups = ("mask", "attention", "runtime", "mode", "averaging")
    chosen = {group: read(f"{group}/{default_of(group)[0]}") for group in groups}
    file, mode = read(f"backbone/{name}"), default_of("mode")[0]
    top = [chosen["mode"], file if "backbone" in file else {}, read(f"backbone_mode/{name}_{mode}")]
    values = {key: value for each in (read("edit"), *top) for key, value in each.items()}
    alone = {"mode": {}, "averaging": {}, "backbone": {"name": name} | file.get("backbone", file)}
    looked_at = {group: chosen[group] for group in ("mask", "attention", "runtime")}
    return values | looked_at | {"task": "replace"} | alone


def found(settings: Settings, flags: Mapping[str, Any], overrides: Sequence[str], cache: Path) -> AskedModel:
    """The backbone of these settings, which were asked for so, as far as files that are here say."""
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
    notes: Mapping[str, Any] = {}
    if place is not None:
        if lost := layout.lacking(place):
            raise InputError(f"backbone {str(place)!r} lacks {lost[0]}: download it again")
        drawn = memory.of_folder(place)
        notes = layout.read_json(place / NOTES) if (place / NOTES).is_file() else {}
    name = chosen.name or (place.resolve().name if place is not None else str(chosen.repository))
    return AskedModel(
        name, settings, flags, overrides, place, drawn, None if drawn is None else _spec(drawn, notes, name)
    )


def _spec(drawn: Blueprint, notes: Mapping[str, Any], name: str) -> BackboneSpec:
    return replace(shapes.of_blueprint(drawn, notes), name=name)


def work(model: AskedModel, video: Video | None) -> ClipWork | None:
    """How a clip, or one of the length and size that the model was trained on, lies on it; None of an unknown model.

    The clip counts as one shot: hard cuts are not looked for. Raises InputError as an edit does, for frames or a size
    that cannot be.
    """
    settings, spec, drawn = model.settings, model.spec, model.drawn
    if spec is None or drawn is None:
        return None
    frames = settings.frames or spec.trained_frames
    if video is not None:
        frames = len(select(video, settings.start, settings.frames, settings.rate).indices)
    own = native_size(spec) if video is None else default_size(spec, video.shown)
    geometry = shapes.geometry_of(drawn, spec, frames, asked_size(settings, spec) or own)
    return ClipWork(geometry, tuple(windows_of(settings, spec, geometry.latent[1])))
