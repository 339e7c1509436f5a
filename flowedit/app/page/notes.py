"""One line for the user beside the buttons, good or bad; and what of a page belongs to another clip."""

import html
from collections.abc import Callable, Mapping
from typing import Any

from flowedit.app.labels import on_page

ALERT = 'role="alert"'
"""What the line of a mistake has, and no other."""


def line(text: str, good: bool = False) -> str:
    """One line for the user beside the buttons."""
    if not text:
        return ""
    kind, role, told = ("fe-note", 'role="status"', text) if good else ("fe-error", ALERT, on_page(text))
    return f'<p class="{kind}" {role}>{html.escape(told)}</p>'


def of_another(part: Mapping[str, Any] | None, clip: str | None) -> bool:
    """Whether a result or a row of them was made of another clip than the one of this id."""
    return (part or {}).get("clip") not in (None, clip)


def over(row: Mapping[str, Any], status: Callable[[str], Mapping[str, Any] | None]) -> bool:
    """Whether none of a row's edits waits or runs; `status` knows one by its job's id."""
    return not {"queued", "running"} & {(status(each["job"]) or {}).get("state") for each in row.get("items") or ()}
