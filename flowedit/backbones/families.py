"""The families of backbones, and `load`, which opens a checkpoint folder with the one that reads it.

A family is one file: `FAMILIES.add("name", Family(...))`, in `zoo/` or in an installed package that names its entry in
the entry-point group `flowedit.backbones`. Nothing above this room imports diffusers.
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch

from flowedit.backbones import memory, shapes
from flowedit.backbones.checkpoint import FILES, Checkpoint, quiet
from flowedit.backbones.options import BackboneOptions
from flowedit.backbones.presets import FULL_SIZE, MemoryPreset
from flowedit.backbones.released import RELEASES
from flowedit.backbones.sheet import readers
from flowedit.backbones.weights import asked
from flowedit.backbones.weights.asked import Overlay
from flowedit.backbones.weights.loaded import LoadedCheckpoint
from flowedit.declare import Registry
from flowedit.flow.schedule import ModelTimes
from flowedit.machine import find_device, why_no_gpu
from flowedit.messages import Cancelled, DownloadError, InputError, MachineError
from flowedit.networks import imports
from flowedit.networks.acceleration import PLAIN, Acceleration
from flowedit.pretrained import fetch, hub, layout
from flowedit.types import Backbone

if TYPE_CHECKING:
    from flowedit.networks.parallel import Ranks

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class Opener(Protocol):
    """Opens a checkpoint of one family; raises InputError for one that it cannot run.

    `tiling`: code large frames by tiles. `cache`: folder of text embeddings, None for none. `rows` (most batch rows a
    network call, 0 for no limit), `offload`, `weights` and `text_weights` are those of RuntimeOptions, and `ladder` the
    memory presets, the one that needs most first. `how`: what its transformer is made faster with.
    """

    def __call__(
        self,
        checkpoint: Checkpoint,
        device: torch.device,
        dtype: torch.dtype,
        /,
        *,
        rows: int | str,
        tiling: bool,
        cache: Path | None,
        offload: str,
        weights: str,
        text_weights: str,
        ladder: Sequence[MemoryPreset],
        how: Acceleration,
    ) -> Backbone: ...


@dataclass(frozen=True)
class NamedCheckpoint:
    """Where a named checkpoint is, with the keys of conf/backbone/*.yaml: one of the first three is given."""

    repository: str | None = None
    """On the model hub."""
    path: str | None = None
    """A folder."""
    packaged: str | None = None
    """A folder inside the package flowedit."""
    download: str | None = None
    """The size of its download, for messages."""
    memory: str | None = None
    """What it needs, for messages."""
    license: str | None = None
    """The license of its weights, for messages."""
    parameters: float | None = None
    """Those of its transformer, in billions."""


@dataclass(frozen=True)
class Family:
    """A family of backbones: the checkpoints that it reads, and how it opens them."""

    about: str
    """One line."""
    pipelines: tuple[str, ...]
    """Pipeline classes in model_index.json that it reads, as names or patterns ("CogVideoX*")."""
    open: Opener
    dtype: torch.dtype | None = None
    """Precision on an accelerator where the user names none; None for that of the saved denoiser."""
    times: Callable[[Mapping[str, Any]], tuple[torch.Tensor, float]] | None = None
    """(knots, shift of its own grid) by the file of its scheduler; None to open a checkpoint for them."""
    checkpoints: Mapping[str, NamedCheckpoint] = field(default_factory=dict)
    """Checkpoints that a plug-in brings, by name; ours are in conf/backbone."""


FAMILIES: Registry[Family] = Registry(
    "flowedit.backbones", "backbone family", package="flowedit.backbones.zoo", entry=Family
)


def load(
    path: Path,
    *,
    name: str | None = None,
    device: str = "auto",
    dtype: str = "auto",
    rows: int | str = "auto",
    tiling: bool = True,
    cache: Path | None = None,
    offload: str = "auto",
    weights: str = "saved",
    text_weights: str = "saved",
    ladder: Sequence[MemoryPreset] = (),
    how: Acceleration = PLAIN,
    overlay: Overlay | None = None,
) -> Backbone:
    """The backbone in a checkpoint folder, opened by the family that reads its pipeline; weights follow when needed.

    `overlay`: LoRAs that are fused into its weights, and single files in place of them. Raises InputError for a folder
    that holds none, a pipeline that no family reads, an unknown device or precision, and an overlay that does not fit.
    """
    checkpoint, family, place = found(path, name, device, dtype, overlay)
    if checkpoint.quantised and (weights != "saved" or how.fuse):
        raise InputError("GGUF weights are quantised already: leave runtime.weights and runtime.fuse out")
    if dtype in PRECISIONS:
        precision = PRECISIONS[dtype]
    elif place.type == "cpu":
        precision = torch.float32
    else:
        precision = family.dtype or checkpoint.dtype(checkpoint.denoiser)
    imports.defer()
    with checkpoint.reporting("it cannot be opened"), quiet():
        return family.open(
            checkpoint,
            place,
            precision,
            rows=rows,
            tiling=tiling,
            cache=cache,
            offload=offload,
            weights=weights,
            text_weights=text_weights,
            ladder=ladder,
            how=how,
        )


@contextmanager
def around(pipe: Any, ladder: Sequence[MemoryPreset] = ()) -> Iterator[Backbone]:
    """The backbone of a pipeline of diffusers that is loaded already; its networks lie and compute as they are.

    Nothing is read or copied, and embeddings of prompts are not kept on disk, as nobody knows what became of weights in
    memory. Where memory runs out a call takes as few rows as the `ladder` says. Afterwards the pipeline is as before.
    Raises InputError for one that no family reads or can run.
    """
    checkpoint = LoadedCheckpoint(pipe)
    family = family_of(checkpoint)
    precision = checkpoint.dtype(checkpoint.denoiser)
    plain: dict[str, Any] = {"rows": "auto", "tiling": False, "cache": None, "offload": "none"}
    with checkpoint.lent():
        with checkpoint.reporting("it cannot be opened"), quiet():
            backbone = family.open(
                checkpoint,
                checkpoint.device,
                precision,
                **plain,
                weights="saved",
                text_weights="saved",
                ladder=ladder,
                how=PLAIN,
            )
        yield backbone


def found(
    path: Path, name: str | None, device: str, dtype: str, overlay: Overlay | None = None
) -> tuple[Checkpoint, Family, torch.device]:
    """A checkpoint, the family that opens it, and the device; everything that `load` refuses is refused, unopened."""
    checkpoint = Checkpoint(path, name, overlay)
    family = family_of(checkpoint)
    checkpoint.require_whole()
    place = find_device(device)
    require_device(checkpoint.name, checkpoint.parameters(checkpoint.denoiser) / 1e9, device, place)
    if dtype not in ("auto", *PRECISIONS):
        raise InputError(f"runtime.dtype {dtype!r} is not one of auto, {', '.join(PRECISIONS)}")
    return checkpoint, family, place


def require_device(name: str, parameters: float | None, device: str, place: torch.device) -> None:
    """Raise MachineError for a full-size model on a CPU that nobody asked for; `parameters` in billions or unknown."""
    if device != "auto" or place.type != "cpu" or (parameters is not None and parameters * 1e9 < FULL_SIZE):
        return
    size = "is a full-size model" if parameters is None else f"has {parameters:.1f} billion parameters"
    raise MachineError(
        f"{name} {size}, and no GPU can be used: {why_no_gpu()}. On a CPU a default edit takes about 20 hours or more "
        "(runtime.device=cpu does it all the same; --backbone pocket runs on a CPU in seconds)"
    )


def family_of(checkpoint: Checkpoint) -> Family:
    """The family that reads the checkpoint's pipeline, by its name or else by a pattern.

    Raises InputError where none does; it names all families, and the plug-ins that could not be loaded.
    """
    if reading := readers(FAMILIES.values(), pipeline := checkpoint.pipeline):
        return reading[0]
    content = pipeline or "model without a name"
    supported = ", ".join(f"{each.pipelines[0]} ({name})" for name, each in FAMILIES.items())
    raise InputError(
        f"backbone {str(checkpoint.path)!r} holds a {content}, which is not supported; supported are {supported}"
        + "".join(f"; {reason}" for reason in FAMILIES.broken.values())
    )


def folder(chosen: BackboneOptions) -> Path | None:
    """The folder of a backbone that is no model of the hub."""
    if chosen.path is not None:
        return Path(chosen.path)
    return None if chosen.packaged is None else Path(str(files("flowedit"))) / chosen.packaged


def here(chosen: BackboneOptions) -> Path | None:
    """The folder of a backbone that is on this machine; None for one that is not."""
    return folder(chosen) or (None if chosen.repository is None else downloaded(chosen.repository, replaced(chosen)))


@cache
def times_of(chosen: BackboneOptions) -> ModelTimes:
    """What the grids of a backbone are made of, without its weights: by its files, or, not here, as it was released.

    Raises InputError for one that is not here and is no release.
    """
    place = here(chosen)
    release = RELEASES.get(chosen.name or "")
    reading = [] if release is None else readers(FAMILIES.values(), release.pipeline)
    if place is None and (release is None or not reading or reading[0].times is None):
        raise InputError(
            f"guidance_interval needs the times of {chosen.name or chosen.repository}, which is not here: download it "
            "first, or leave guidance_interval out"
        )
    if place is None:
        assert release is not None
        family, drawn, notes = reading[0], memory.released(chosen.name or ""), {}
        scheduler: Mapping[str, Any] = release.scheduler[1]
    else:
        checkpoint = Checkpoint(place)
        family, drawn, notes = family_of(checkpoint), memory.of_folder(place), checkpoint.notes
        if family.times is None or drawn is None:
            opened = load(place, device="cpu", dtype="float32")
            return ModelTimes(opened.knots, opened.spec.shift, opened.spec.strength_shift)
        scheduler = layout.read_json(place / "scheduler" / "scheduler_config.json")
    assert family.times is not None
    assert drawn is not None
    return ModelTimes(*family.times(scheduler), shapes.of_blueprint(drawn, notes).strength_shift)


def replaced(chosen: BackboneOptions) -> tuple[str, ...]:
    """The networks whose weights come from single files, by their folders: those on the hub are not downloaded."""
    return tuple(part for part in asked.NETWORKS if getattr(chosen, part, None) is not None)


def _wanted(without: Sequence[str]) -> list[str]:
    return [pattern for pattern in FILES if pattern not in [f"{part}/*.safetensors" for part in without]]


def _lacking(folder: Path, without: Sequence[str]) -> list[str]:
    """What a folder lacks, beside the weights of the networks `without`."""
    return [
        lost
        for lost in layout.lacking(folder)
        if lost.endswith("/config.json") or lost.partition("/")[0] not in without
    ]


def download(repository: str, size: str, without: Sequence[str] = ()) -> Path:
    """The checkpoint folder of a hub repository, without the weights of some networks (`replaced`).

    Raises DownloadError that says what to download and where.
    """
    advice = (
        f"where it can be reached, run `hf download {repository} --local-dir DIR`, bring DIR here, and give "
        "--backbone DIR"
    )
    return hub.snapshot(repository, size, _wanted(without), advice, partial(_lacking, without=without))


def fetched(
    repository: str,
    size: str,
    begin: Callable[[int], None],
    advance: Callable[[int], None],
    cancel: threading.Event | None = None,
    without: Sequence[str] = (),
) -> Path:
    """The same, told of in bytes and stopped by `cancel`; what was stopped goes on where it was. See `fetch.fetch`."""
    if (place := downloaded(repository, without)) is not None:
        return place
    name, advice = f"{repository} ({size}) from the model hub", "try again: it goes on where it was"
    try:
        place = fetch.fetch(repository, _wanted(without), begin, advance, cancel)
    except Cancelled:
        raise
    except OSError as error:
        raise hub.unreachable(name, advice, error) from error
    if lost := _lacking(place, without):
        if lost[0].endswith("*.safetensors"):  # all that was asked for is here: trying again brings no more
            advice = (
                f"pickles are not read: run `hf download {repository} --local-dir DIR` and `python "
                "scripts/to_safetensors.py DIR`, and give --backbone DIR"
            )
        raise DownloadError(f"cannot get {name}: {str(place)!r} still lacks {lost[0]}; {advice}")
    return place


def downloaded(repository: str, without: Sequence[str] = ()) -> Path | None:
    """The checkpoint folder of a hub repository if it is here already, and whole but for weights of some networks."""
    return hub.cached_snapshot(repository, _wanted(without), partial(_lacking, without=without))


def follow(how: Acceleration, processes: "Ranks") -> int:
    """What a process does that another one leads (`runtime.context_parallel`); returns its exit code."""
    from flowedit.networks import parallel

    def part(words: Mapping[str, Any]) -> parallel.RankShare:
        place = str(processes.device)
        over = asked.of_words(words["overlay"])
        backbone: Any = load(
            Path(words["path"]), name=words["name"], device=place, dtype=words["dtype"], how=how, overlay=over
        )
        made: parallel.RankShare = backbone.part()  # one without it tells nobody to follow
        return made

    return parallel.follow(processes, part)
