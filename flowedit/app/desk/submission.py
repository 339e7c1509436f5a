"""A request on its way to the queue: what is asked as a record, and everything that its job would refuse later."""

import functools
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
from flowedit.evaluation.options import MODES as COMPARED
from flowedit.media.mask_file import read_mask
from flowedit.media.probe import probe
from flowedit.messages import InputError

if TYPE_CHECKING:
    from flowedit.results import EditCheck


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
    record: JobRecord,
    clip: StoredClip,
    path: Path,
    look_of: Callable[[str], JobRecord],
    options: StudioOptions,
    mask: tuple[StoredClip, Path] | None = None,
) -> None:
    """Refuse now what the job would refuse when its turn comes.

    `path` is the clip's file, `look_of` the record of a look by its id, `mask` a mask that was uploaded, and its file.
    Raises InputError, and NotNowError for a model that is not here.
    """
    heavy.ready()
    painted = path if jobs.is_painted(record.mask) else None  # a mask of paint is no file yet; any that is there does
    own = jobs.options_of_job(record, painted if mask is None else mask[1])
    asked = {key: value for key, value in own.items() if key not in limits.COMPARE}
    try:
        each = _checked(path, asked, record)
        _check_mask(record, asked, path, each[0], look_of)
        if mask is not None:
            _read_mask(mask[1], path, each[0].indices)
    except InputError as error:
        text = str(error).replace(str(path), clip.name)
        raise InputError(text if mask is None else text.replace(str(mask[1]), mask[0].name)) from None
    if each[0].checkpoint is None:
        raise NotNowError(f"backbone {each[0].backbone!r} is not on this machine yet: download it first")
    most, budget = max(one.network_evaluations or 0 for one in each), record.flags.get("evaluations")
    most = budget if isinstance(budget, int) else most
    frames, shots = each[0].frames, each[0].shots or len(clip.scenes)
    limits.check_cost(len(each) * most, min(shots, frames), frames, each[0].size, options.evaluations)


@functools.lru_cache(64)
def _read_mask(mask: Path, clip: Path, indices: tuple[int, ...]) -> None:
    """Look through the frames of a mask that an edit would use; raises InputError for one that it would refuse.

    Files of clips stay as they are, so one that was good is not read again for the next of several edits.
    """
    read_mask(mask, probe(clip), indices)


def _checked(path: Path, asked: Mapping[str, Any], record: JobRecord) -> "list[EditCheck]":
    """What the edit will do; of a comparison what each of its methods will that can: of those by name, each must."""
    import flowedit

    if record.kind != "compare":
        return [flowedit.check(path, **asked)]
    named, found, refused = record.flags.get("modes"), [], None
    rest = {key: value for key, value in asked.items() if key.partition(".")[0] != "mode"}
    for mode in named or COMPARED:
        try:
            found.append(flowedit.check(path, **{**rest, "mode": mode}))
        except InputError as error:
            if named:
                raise
            refused = error
    if refused is not None and not found:
        raise refused
    return found


def _check_mask(
    record: JobRecord,
    asked: Mapping[str, Any],
    path: Path,
    checked: "EditCheck",
    look_of: Callable[[str], JobRecord],
) -> None:
    """Raise InputError for paint on a frame that is not read, and for a look at something else than this."""
    import flowedit

    mask: Mapping[str, Any] = record.mask or {}
    adjust = {key: value for key, value in mask.items() if key not in ("look", "file")}
    looks.check_adjust(adjust, checked.frames)
    if mask.get("look") is None:
        return
    look = look_of(mask["look"])
    then = jobs.options_of_job(look)
    if look.clip != record.clip or looks.subject(flowedit.check(path, **then), then) != looks.subject(checked, asked):
        raise InputError("the mask is of an earlier clip, trim, model or words: look at the mask again")
