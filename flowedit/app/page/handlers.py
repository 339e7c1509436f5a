"""What the page does: each handler takes what stands on it, asks the studio, and returns what is to stand there."""

import html
from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr

from flowedit.app.desk import Studio
from flowedit.app.page import chips
from flowedit.app.page.choices import default_texts, editor_of
from flowedit.app.page.gather import Asked, clip_id, mask_of, read_of, settings_of
from flowedit.messages import Error, InputError

FOX, INSTRUCTION = "fox", "replace the fox with a panda"
MOST = 16
"""Of edits in one row."""


def owner_of(request: gr.Request) -> str | None:
    """Whose page this is, by the cookie that the server gave."""
    return request.cookies.get("flowedit_owner")


def line(text: str, good: bool = False) -> str:
    """One line for the user beside the buttons."""
    if not text:
        return ""
    role, kind = ("status", "fe-note") if good else ("alert", "fe-error")
    return f'<p class="{kind}" role="{role}">{html.escape(text)}</p>'


class Handlers:
    """The handlers of one studio; nothing is kept here between two of them."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio

    # What a page begins with

    def begin(self, kept: Mapping[str, Any] | None, request: gr.Request) -> tuple[Any, ...]:
        """A new tab gets the fox, where the model knows it; one that was loaded again, what it had."""
        kept, owner = kept or {}, owner_of(request)
        known = kept.get("drop") is not None and self._clip(kept["drop"]) is not None
        if not known and self.studio.options.backbone == "pocket":
            drop, *prompts, empty = self.example(request)
        else:
            drop = self._drop(**kept["drop"]) if known else self._drop(None)
            prompts = [
                kept.get("instruction", ""),
                kept.get("source", ""),
                kept.get("own", False),
                kept.get("target", ""),
            ]
            empty = gr.update()
        chosen = (kept.get("models") or {}).get("chosen") or self.studio.options.backbone
        values = (kept.get("options") or {}).get("values") or {}
        base = {"backbone": chosen, **values}
        usual = default_texts(base) or default_texts({"backbone": chosen})
        live, result, look = self._found_again(kept)
        return (
            drop,
            *prompts,
            (kept.get("words") if known else None) or {"sides": []},
            kept.get("quality", "auto"),
            kept.get("strength", float(usual["strength"])) if known else float(usual["strength"]),
            kept.get("seed", 0),
            {"items": self.studio.backbones(), "chosen": chosen},
            {"values": values, "defaults": usual, "editor": editor_of(usual["mode"])},
            look,
            (kept.get("maskfile") if known else None) or {"file": None},
            live,
            result,
            kept.get("several") or {"items": []},
            {"items": self.studio.history(owner)},
            gr.update(visible=result is None and live["job"] is None) if known else empty,
            kept.get("vary", "seed"),
            kept.get("values", "0, 1, 2, 3"),
            kept.get("methods", gr.update()),
        )

    def _found_again(self, kept: Mapping[str, Any]) -> tuple[dict[str, Any], Any, dict[str, Any]]:
        """The edit that runs, the result that was shown, and the mask that was looked at."""
        live: dict[str, Any] = {"job": None}
        job = (kept.get("live") or {}).get("job")
        if job is not None and self._status(job) is not None:
            live = {"job": job}
        shown = (kept.get("player") or {}).get("id")
        result = None if shown is None else self._status(shown)
        painter = kept.get("painter") or {}
        if painter.get("look") and self._status(painter["look"]) is None:
            painter = {}
        return live, result, painter or {"look": None}

    def example(self, request: gr.Request) -> tuple[Any, ...]:
        """The fox, and what may be done to it."""
        known = self.studio.example(FOX, owner_of(request))
        return self._drop(known["clip"]), INSTRUCTION, known["settings"]["source"], False, "", gr.update()

    # What stands in the fields

    def read(self, instruction: str, source: str, own: bool, target: str, words: Mapping[str, Any]) -> tuple[Any, ...]:
        """What the sentences come to, the words in them as chips, and which fields are needed."""
        fields = gr.update(visible=not own), gr.update(visible=own)
        key = [instruction, source, target, own]
        if (words or {}).get("of") == key:
            return gr.update(), gr.update(), *fields
        if not (target if own else instruction).strip():
            return "", {"sides": [], "of": key}, *fields
        if own:
            return "", {"sides": chips.of_prompts(source, target), "of": key}, *fields
        try:
            read = read_of(instruction, source)
        except Error as error:
            return line(str(error)), {"sides": [], "of": key}, *fields
        told = f"It becomes: {read.target}" if read.target else ""
        return line(told, good=True), {"sides": chips.of_read(read), "of": key}, *fields

    def usual(self, *fields: Any) -> tuple[Any, Any]:
        """What is usual for the method, the model and the quality that are chosen."""
        asked = _asked(*fields)
        options = fields[10] or {}
        usual = default_texts({"backbone": asked.backbone, "quality": asked.quality, **asked.options})
        if not usual or usual == options.get("defaults"):
            return gr.skip(), gr.skip()
        before = (options.get("defaults") or {}).get("strength")
        moved = before is not None and f"{asked.strength:g}" != before
        new = {**options, "defaults": usual, "editor": editor_of(usual["mode"])}
        return new, gr.skip() if moved else float(usual["strength"])

    def clip(self, drop: Mapping[str, Any], painter: Mapping[str, Any]) -> tuple[Any, str]:
        """Another clip: the mask that was looked at is of no use any more."""
        of = (painter or {}).get("clip") or {}
        same = bool(drop) and of.get("id") == (drop.get("clip") or {}).get("id")
        return gr.skip() if same else {"look": None}, ""

    def describe(self, drop: Mapping[str, Any]) -> tuple[Any, str]:
        """A sentence about the clip, by the model that the studio was started with."""
        try:
            return self.studio.describe(self._clip_id(drop)), ""
        except Error as error:
            return gr.skip(), line(str(error))

    # What runs

    def edit(self, request: gr.Request, *fields: Any) -> tuple[Any, ...]:
        """Edit the clip."""
        return self._start("edit", request, fields)

    def look(self, request: gr.Request, *fields: Any) -> tuple[Any, ...]:
        """Look for the mask."""
        return self._start("look", request, fields)

    def compare(self, request: gr.Request, *fields: Any) -> tuple[Any, ...]:
        """Several methods at equal cost, with the report."""
        *asked, methods, evaluations = fields
        more = {"modes": list(methods or ()), "evaluations": int(evaluations or 48)}
        return self._start("compare", request, asked, more)

    def _start(
        self, kind: str, request: gr.Request, fields: Sequence[Any], more: Mapping[str, Any] | None = None
    ) -> tuple[Any, ...]:
        asked = _asked(*fields)
        try:
            settings = {**settings_of(asked), **(more or {})}
            if kind == "compare":
                settings.pop("mode", None)
            mask = mask_of(asked) if kind == "edit" else None
            job = self.studio.submit(kind, clip_id(asked), settings, owner_of(request), mask)
        except Error as error:
            return gr.skip(), line(str(error)), gr.skip()
        return {"job": job}, "", gr.update(visible=False)

    def several(self, request: gr.Request, *fields: Any) -> tuple[Any, ...]:
        """One edit for each value; they wait in the queue and appear one by one."""
        *values, vary, which = fields
        asked = _asked(*values)
        try:
            settings, mask, clip = settings_of(asked), mask_of(asked), clip_id(asked)
            items = []
            for number in _numbers(str(vary), str(which)):
                job = self.studio.submit("edit", clip, {**settings, vary: number}, owner_of(request), mask)
                items.append({"label": f"{vary} {number:g}", "job": job})
        except Error as error:
            return gr.skip(), line(str(error)), gr.skip()
        return {"items": items}, "", gr.update(visible=False)

    def ended(self, live: Mapping[str, Any], drop: Mapping[str, Any], request: gr.Request) -> tuple[Any, ...]:
        """A job is over: its result takes its place."""
        job = (live or {}).get("job")
        nothing = (gr.skip(),) * 5
        if job is None or "state" not in live:
            return nothing
        status = self._status(job)
        if status is None or status["state"] == "failed":
            return nothing  # the part says why
        history = {"items": self.studio.history(owner_of(request))}
        if status["kind"] == "look":
            start = status["settings"].get("start") or 0
            painter = {"look": job, "clip": (drop or {}).get("clip"), "start": int(start), "adjust": {}}
            return {"job": None}, gr.skip(), painter, gr.skip(), ""
        return {"job": None}, status, gr.skip(), history, ""

    # What was made before

    def go_on(self, several: Mapping[str, Any]) -> tuple[Any, ...]:
        """Go on from one of several: it is shown, and its settings are those of the page."""
        job = (several or {}).get("chosen")
        status = None if job is None else self._status(job)
        if status is None:
            return (gr.skip(),) * 12
        return status, *self._fields(status["settings"], status.get("clip"))

    def chosen(self, history: Mapping[str, Any], request: gr.Request) -> tuple[Any, ...]:
        """A card of the history was chosen or deleted, or an edit's file was dropped there."""
        nothing = (gr.skip(),) * 15
        history = history or {}
        if (gone := history.get("deleted")) is not None:
            with _told() as told:
                self.studio.delete(gone if isinstance(gone, str) else gone["id"])
            return gr.skip(), {"items": self.studio.history(owner_of(request))}, *nothing[:12], line(told.text)
        if (chosen := history.get("chosen")) is None:
            return nothing
        result = self._status(chosen["id"]) if chosen.get("id") else None
        settings = chosen.get("settings") if result is None else result["settings"]
        fields = self._fields(settings or {}, (result or {}).get("clip"))
        return (
            gr.skip() if result is None else result,
            gr.skip(),
            gr.update(visible=False) if result is not None else gr.skip(),
            *fields,
            line("Its settings are on the page now.", good=True),
        )

    def _fields(self, settings: Mapping[str, Any], clip: str | None) -> tuple[Any, ...]:
        """The fields of the page as these settings have them: drop, prompts ... options, as `begin` gives them."""
        rest = dict(settings)
        own = rest.get("instruction") is None
        sides = {side: text for side in ("source", "target") if (text := rest.pop(f"{side}_words", None))}
        drop: Any = gr.skip()
        if clip is not None and (known := self._clip({"clip": {"id": clip}})) is not None:
            drop = self._drop(known, rest.get("start"), rest.get("frames"))
        for place in ("start", "frames", "clip", "out"):
            rest.pop(place, None)
        instruction, source, target = (str(rest.pop(key, None) or "") for key in ("instruction", "source", "target"))
        backbone = str(rest.pop("backbone", None) or self.studio.options.backbone)
        quality, strength, seed = rest.pop("quality", "auto"), rest.pop("strength", None), rest.pop("seed", 0)
        values = {key: _typed(value) for key, value in rest.items()}
        usual = default_texts({"backbone": backbone, "quality": quality, **values})
        of: list[Any] = [instruction, source, target, own]
        words = {
            "sides": chips.of_prompts(source, target, sides),
            "of": of,
            "chosen": {f"{s}_words": t for s, t in sides.items()},
        }
        return (
            drop,
            instruction,
            source,
            own,
            target,
            words if own else {"sides": []},
            quality,
            float(usual.get("strength", 0.8) if strength is None else strength),
            seed,
            {"items": self.studio.backbones(), "chosen": backbone},
            {"values": values, "defaults": usual, "editor": editor_of(usual.get("mode", "inversion_free"))},
        )

    def _drop(self, clip: Any, start: Any = None, frames: Any = None, limit: Any = None) -> dict[str, Any]:
        """What the clip's part shows: a clip, the part of it that is edited, and the bytes that an upload may have."""
        part = {key: int(value) for key, value in (("start", start), ("frames", frames)) if value is not None}
        return {"clip": clip, "limit": self.studio.options.most_bytes, **part}

    def _clip_id(self, drop: Mapping[str, Any]) -> str:
        if not drop or not drop.get("clip"):
            raise InputError("There is no clip yet: drop one on the page, or choose the fox.")
        return str(drop["clip"]["id"])

    def _clip(self, drop: Mapping[str, Any]) -> Any:
        try:
            return self.studio.clip(self._clip_id(drop)).plain()
        except Error:
            return None

    def _status(self, job: str) -> dict[str, Any] | None:
        try:
            return self.studio.status(job)
        except Error:
            return None


class _told:
    """Errors of the block as the text of one line."""

    text = ""

    def __enter__(self) -> "_told":
        return self

    def __exit__(self, kind: Any, error: BaseException | None, *_: Any) -> bool:
        self.text = str(error) if isinstance(error, Error) else ""
        return isinstance(error, Error)


def _asked(
    drop: Any, instruction: str, source: str, own: bool, target: str, words: Any, quality: str, strength: float,
    seed: float | None, models: Any, options: Any, painter: Any, mask_file: Any,
) -> Asked:  # fmt: skip
    words, painter = words or {}, painter or {}
    current = words.get("of") == [instruction, source, target, own]
    return Asked(
        clip=drop,
        instruction=instruction or "",
        source=source or "",
        own=bool(own),
        target=target or "",
        words=(words.get("chosen") or {}) if current else {},
        quality=quality,
        strength=float(strength),
        seed=int(seed or 0),
        backbone=str((models or {}).get("chosen")),
        options=(options or {}).get("values") or {},
        adjust=painter.get("adjust"),
        look=painter.get("look"),
        mask_file=(mask_file or {}).get("file"),
    )


def _numbers(vary: str, which: str) -> list[float]:
    """The values of a row; raises InputError for what are no numbers, or too many."""
    texts = [text for text in which.replace(",", " ").split() if text]
    try:
        found: list[float] = [int(text) if vary == "seed" else float(text) for text in texts]
    except ValueError:
        raise InputError(f"{which!r} are no numbers: write them with commas, such as 0, 1, 2, 3") from None
    if not 1 <= len(found) <= MOST:
        raise InputError(f"{len(found)} values: write 1 to {MOST} of them")
    return found


def _typed(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(_typed, value)) if isinstance(value, (list, tuple)) else str(value)
