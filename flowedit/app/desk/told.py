"""A job as the API tells of it: how far it is, and what it left."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flowedit.app import films, jobs
from flowedit.app.jobs import JobRecord
from flowedit.app.labels import on_page
from flowedit.app.live import Live

USER_MASK = "the mask comes from the user mask, not from"
"""How the notice of an edit with a mask's file begins."""

PAINTED = "your painted mask is used"
"""The same of a mask that was painted on what the words chose."""


def status(
    record: JobRecord, state: str, place: int | None, live: Live | None, result: dict[str, Any]
) -> dict[str, Any]:
    """All that is known of a job but for what it left; `live` is there while it runs, `result` once it is over."""
    told: dict[str, Any] = {
        "id": record.id,
        "kind": record.kind,
        "state": state,
        "place": place,
        "clip": record.clip,
        "settings": record.flags,
        "mask": record.mask,
        "created": record.created,
        "message": result.get("message"),
        "phase": None,
        "done": 0,
        "total": 0,
        "fraction": 1.0 if state == "done" else 0.0,
        "seconds": result.get("seconds"),
        "seconds_left": None,
        "notices": result.get("notices", []),
        "left_out": [],
        "preview": None,
        "files": {},
        "player": None,
        "report": None,
    }
    if live is not None:
        told |= live.plain()
        told["preview"] = None if live.preview is None else f"/api/jobs/{record.id}/preview.jpg?{live.previews}"
    return told


def named(status: dict[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """A status whose message and notices have a user's names in the place of our paths."""
    texts = [status["message"] or "", *status["notices"]]
    for path, name in names.items():
        texts = [text.replace(path, name) for text in texts]
    return status | {"message": texts[0] or None, "notices": texts[1:]}


def worded(status: dict[str, Any], allow: Sequence[str]) -> dict[str, Any]:
    """A status whose message and notices are in the words of the page."""
    message, mask = status.get("message"), status.get("mask") or {}
    painted = jobs.is_painted(mask) and not mask.get("file")
    heard = [PAINTED if painted and text.startswith(USER_MASK) else text for text in status["notices"]]
    of = {"notices": heard, "left_out": status["left_out"]}
    texts = {key: [on_page(text, allow) for text in own] for key, own in of.items()}
    return status | texts | {"message": message and on_page(message, allow)}


def left(record: JobRecord, folder: Path) -> dict[str, Any]:
    """The addresses of what a job left in its folder."""
    base = f"/api/jobs/{record.id}/files"
    if record.kind == "compare" and (folder / "index.html").is_file():
        return {"report": f"{base}/index.html", "files": {"index.html": f"{base}/index.html"}}
    return films.left(folder, base) if record.kind == "edit" and films.made(folder) else {}
