"""One edit as a job: its identity, and what it does in whatever process it lands."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from flowedit import machine
from flowedit.config.schema import Settings
from flowedit.evaluation.engine.job import Job, Shelf
from flowedit.machine import PARTIAL, digest, digest_file, digest_folder, versions
from flowedit.pipeline import run
from flowedit.pipeline.api import Editor
from flowedit.pipeline.plan import intervals, network_evaluations
from flowedit.pipeline.record import Session, plain
from flowedit.pipeline.resume import Journal
from flowedit.types import Monitor

PLACES = (
    ("clip",), ("out",), ("user_mask",), ("caption",), ("lora",), ("runtime", "cache"),
    *(("backbone", key) for key in ("path", "transformer", "transformer_2")),
)  # fmt: skip
"""Settings that say where things lie; what lies there is hashed instead."""


SOURCES = f".sources{PARTIAL}"
"""The folder, beside the jobs, of the clips that are encoded already; it goes with the run (see `open_store`)."""


def edit_job(
    settings: Settings,
    label: str,
    threads: int | None,
    fetch: bool = True,
    say: Callable[[str], None] = lambda text: None,
) -> Job:
    """The job of one edit; its id is a hash of the clip's bytes, the resolved configuration, checkpoint and versions.

    Without `fetch` a checkpoint that is not here is not downloaded, and the id is one that no result has. Raises
    OSError for a file that cannot be read, ConnectionError for a checkpoint that cannot be had.
    """
    assert settings.clip is not None
    mask = None if settings.user_mask is None else digest_file(Path(settings.user_mask))
    clip = digest_file(Path(settings.clip))
    return Job(
        id=digest("edit", versions(), job_settings(settings), threads, clip, mask, weights(settings, fetch, say)),
        label=label,
        work=edit,
        spec=settings,
        cost=network_evaluations(settings),
        threads=threads,
    )


def weights(settings: Settings, fetch: bool = True, say: Callable[[str], None] = lambda text: None) -> str | None:
    """The hash of the checkpoint that the settings name, and of what is laid over its weights; None for one that is not
    here and not to be fetched. `say` hears of a download.
    """
    over = run.overlay(settings)
    folder = run.checkpoint(settings, fetch, say)
    if folder is None:
        return None
    loras = [[digest_file(each.path), each.weight, each.part] for each in over.loras]
    files = {name: digest_file(path) for name, path in over.files.items()}
    return digest(digest_folder(folder), loras, files) if loras or files else digest_folder(folder)


def job_settings(settings: Settings) -> dict[str, Any]:
    """Settings as plain values, without those that only say where things lie, with the kind of device that is meant.

    Strengths that come to the same number of steps are one: no more than that number is made of them.
    """
    values: dict[str, Any] = plain(asdict(settings))
    values["strength"] = intervals(settings)
    values["runtime"]["device"] = machine.find_device(settings.runtime.device).type
    for *groups, key in PLACES:
        place = values
        for group in groups:
            place = place[group]
        place.pop(key)
    return values


def editor_of(settings: Settings, shelf: Shelf) -> Editor:
    """The editor for these settings, on the worker's shelf while backbone, runtime and LoRAs stay the same."""
    return shelf.keep("editor", settings.loaded, lambda: Editor(settings=settings))


def edit(settings: Settings, folder: Path, monitor: Monitor, shelf: Shelf) -> dict[str, Any]:
    """Run one edit into a folder; the result says what it cost, and its notices."""
    assert settings.clip is not None
    editor = editor_of(settings, shelf)
    editor.backbone.ready()  # so that the first edit's seconds are as long as any other's
    session = Session(editor.backbone.device, monitor)
    sources = Journal(folder.parent / SOURCES)
    record = run.edit_clip(settings, editor.backbone, session, out=folder, keep=False, sources=sources).run
    return {"costs": costs(record), "notices": record["notices"]}


SHARED = ("find cuts", "encode", "embed", "round trip")


def costs(record: Mapping[str, Any]) -> dict[str, float]:
    """Network evaluations, whole and by tokens, seconds, and the most memory of any phase, from a run.yaml.

    Neither the reading of weights counts, nor what is done for the clip and not for the method: encoding it and
    embedding its prompts, which the next method finds, finding its cuts, and looking how well a small autoencoder
    carries it.
    """
    phases = {name: phase for name, phase in record["phases"].items() if name not in SHARED}
    return {
        "network_evaluations": float(record["network_evaluations"]),
        "token_evaluations": float(record["token_evaluations"]),
        "seconds": round(sum(phase["seconds"] for phase in phases.values()), 3),
        "peak_memory_mib": max(phase["peak_memory_mib"] for phase in phases.values()),
    }
