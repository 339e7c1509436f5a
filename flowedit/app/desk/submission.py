"""A request on its way to the queue: what is asked as a record, and everything that its job would refuse later."""

import secrets
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowedit.app import heavy, jobs, limits, looks
from flowedit.app.clips import StoredClip
from flowedit.app.jobs import JobRecord
from flowedit.app.limits import NotNowError
from flowedit.app.options import StudioOptions
from flowedit.messages import InputError

if TYPE_CHECKING:
    from flowedit.config.schema import Settings
    from flowedit.pipeline.source import Clip


def record_of(
    kind: str, clip_id: str, settings: Any, owner: str | None, mask: Any, options: StudioOptions
) -> JobRecord:
    """What is asked for, as a record under a new id; raises InputError for what no clip is needed to refuse."""
    if kind not in jobs.KINDS:
        raise InputError(f"kind {str(kind)[:80]!r} is not one of {', '.join(jobs.KINDS)}")
    flags = limits.accepted(settings, kind, options.allow)
    flags.setdefault("backbone", options.backbone)
    if options.caption and flags.get("instruction") and not flags.get("source"):
        flags["caption"] = options.caption
    return JobRecord(
        secrets.token_hex(16), 0, kind, owner, clip_id, flags, jobs.check_mask(mask), round(time.time(), 3)
    )


def check(
    record: JobRecord, clip: StoredClip, path: Path, look_of: Callable[[str], JobRecord], options: StudioOptions
) -> None:
    """Refuse now what the job would refuse when its turn comes.

    `path` is the clip's file, and `look_of` the record of a look by its id. Raises InputError, and NotNowError for a
    model that is not here.
    """
    heavy.ready()
    from flowedit.media.probe import probe
    from flowedit.pipeline import run
    from flowedit.pipeline.api import settings_of
    from flowedit.pipeline.checks import check
    from flowedit.pipeline.plan import foreseen
    from flowedit.pipeline.prompts import instruction
    from flowedit.pipeline.prompts.captions import Captions
    from flowedit.pipeline.source import open_clip
    from flowedit.types import QUIET

    of_job = jobs.options_of_job(record, path if jobs.is_painted(record.mask) else None)
    own = {key: value for key, value in of_job.items() if key not in limits.COMPARE}
    settings = settings_of({**own, "clip": str(path)})
    try:
        source = open_clip(settings, probe(path))
        if record.kind != "compare":
            kept = None if settings.caption is None else Captions(QUIET, ask=False)  # the model is asked in its turn
            brief = check(instruction.complete(settings, QUIET, kept, source.video), source)
        _check_mask(record, settings, source, look_of)
        here = run.checkpoint(settings, fetch=False)
    except InputError as error:
        raise InputError(str(error).replace(str(path), clip.name)) from None
    if here is None:
        raise NotNowError(f"backbone {settings.backbone.name!r} is not on this machine yet: download it first")
    evaluations = _of_comparison(record, path) if record.kind == "compare" else brief.cost(foreseen(brief))
    frames, cuts = len(source.selection.indices), settings.cuts
    shots = len(cuts) + 1 if isinstance(cuts, tuple) else 1 if cuts == "none" else len(clip.scenes)
    limits.check_cost(evaluations, min(shots, frames), frames, settings.frame_size, options.evaluations)


def _check_mask(record: JobRecord, settings: "Settings", source: "Clip", look_of: Callable[[str], JobRecord]) -> None:
    """Raise InputError for paint on a frame that is not read, and for a look at something else than this."""
    from flowedit.pipeline.api import settings_of

    mask: Mapping[str, Any] = record.mask or {}
    adjust = {key: value for key, value in mask.items() if key not in ("look", "file")}
    looks.check_adjust(adjust, len(source.selection.indices))
    if mask.get("look") is None:
        return
    asked = look_of(mask["look"])
    then = settings_of({**jobs.options_of_job(asked), "clip": settings.clip})
    if asked.clip != record.clip or looks.subject(then, source.video) != looks.subject(settings, source.video):
        raise InputError("the mask is of an earlier clip, trim, model or words: look at the mask again")


def _of_comparison(record: JobRecord, path: Path) -> int:
    """The network evaluations of a comparison, at most: of each of its methods what the most costly one takes."""
    from flowedit.evaluation.options import MODES
    from flowedit.pipeline.api import settings_of
    from flowedit.pipeline.plan import network_evaluations

    options = {key: value for key, value in jobs.options_of_comparison(record).items() if key not in limits.COMPARE}
    modes, budget = record.flags.get("modes") or MODES, record.flags.get("evaluations")
    each = [network_evaluations(settings_of({**options, "mode": mode, "clip": str(path)})) for mode in modes]
    return len(each) * (budget if isinstance(budget, int) else max(each))
