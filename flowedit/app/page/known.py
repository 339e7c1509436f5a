"""What a studio knows of what stands on its page: clips and jobs by their ids, and what a part shows of them."""

import html
import time
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import gradio as gr

from flowedit.app.access import owner_of as owner_in
from flowedit.app.desk.studio import Studio
from flowedit.app.labels import on_page
from flowedit.messages import Error

NO_MASK: dict[str, Any] = {"look": None}

Stands = Mapping[Any, Any]
"""What stands on the page: element to value."""

Sets = dict[Any, Any]
"""What a handler sets: element to value; the others stay as they are."""


def owner_of(request: gr.Request) -> str | None:
    """Whose page this is, by the cookie that the server gave."""
    return owner_in(request.headers.get("cookie", ""))


def good(text: str) -> str:
    """One line for the user beside the buttons, in the page's own words."""
    return f'<p class="fe-note" role="status">{html.escape(text)}</p>' if text else ""


def anew() -> dict[str, Any]:
    """What has the history asked for anew: another value than the last."""
    return {"of": time.time()}


class Known:
    """A studio, and its page; `on` are the elements of the page by name."""

    def __init__(self, studio: Studio, on: SimpleNamespace) -> None:
        self.studio, self.on = studio, on

    def line(self, text: str) -> str:
        """What is wrong, in one line beside the buttons and in the words of the page."""
        told = html.escape(on_page(text, self.studio.options.allow))
        return f'<p class="fe-error" role="alert">{told}</p>' if text else ""

    def clip(self, id: str | None) -> dict[str, Any] | None:
        """A clip that is there still."""
        try:
            return None if id is None else self.studio.clip(id).plain()
        except Error:
            return None

    def status(self, job: str | None) -> dict[str, Any] | None:
        """What is known of a job that is there still."""
        try:
            return None if job is None else self.studio.status(job)
        except Error:
            return None

    def nothing(self) -> Sets:
        """All stays as it is; Gradio wants one element named."""
        return {self.on.said: gr.skip()}

    def drop(self, clip: Any, start: Any = None, frames: Any = None) -> dict[str, Any]:
        """What the clip's part shows: a clip, the part of it that is edited, and the bytes that an upload may have."""
        part = {key: int(value) for key, value in (("start", start), ("frames", frames)) if value is not None}
        return {"clip": clip, "limit": self.studio.options.most_bytes, **part}

    def painter(self, look: Mapping[str, Any], adjust: Mapping[str, Any]) -> dict[str, Any]:
        """What the painter shows: the mask of a look, and what was done to it."""
        settings = look["settings"]
        part = {key: int(settings[key]) for key in ("start", "frames") if settings.get(key) is not None}
        return {"look": look["id"], "clip": self.clip(look["clip"]), "adjust": dict(adjust), **part}
