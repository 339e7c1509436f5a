"""What the page does: a handler takes what stands on it, asks the studio, and returns what is to stand there."""

import time
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import gradio as gr

from flowedit.app.access import owner_of as owner_in
from flowedit.app.desk.studio import Studio
from flowedit.app.jobs import typed
from flowedit.app.models import words_of
from flowedit.app.page import chips, sentences
from flowedit.app.page.choices import default_texts, editor_of
from flowedit.app.page.gather import KEPT, Asked, clip_id, mask_of, numbers, read_of, settings_of
from flowedit.app.page.sentences import line
from flowedit.messages import Error

FOX, INSTRUCTION, FOX_SOURCE = "fox", "replace the fox with a panda", "a fox moves right over green grass"
NO_MASK: dict[str, Any] = {"look": None}

Stands = Mapping[Any, Any]
"""What stands on the page: element to value."""

Sets = dict[Any, Any]
"""What a handler sets: element to value; the others stay as they are."""


def owner_of(request: gr.Request) -> str | None:
    """Whose page this is, by the cookie that the server gave."""
    return owner_in(request.headers.get("cookie", ""))


class Handlers:
    """The handlers of one studio; `on` are the elements of the page by name. Nothing is kept between two of them."""

    def __init__(self, studio: Studio, on: SimpleNamespace) -> None:
        self.studio, self.on = studio, on

    # What a page begins with

    def begin(self, stands: Stands, request: gr.Request) -> Sets:
        """A new tab gets the fox, where the model knows it; one that was loaded again, what it had."""
        on, kept = self.on, stands[self.on.kept] or {}
        known = kept.get("drop") is not None and self._clip((kept["drop"].get("clip") or {}).get("id")) is not None
        chosen = (kept.get("models") or {}).get("chosen") or self.studio.options.backbone
        values = (kept.get("options") or {}).get("values") or {}
        usual = default_texts({"backbone": chosen, **values}) or default_texts({"backbone": chosen})
        sets = {
            on.models: {"items": self.studio.backbones(), "chosen": chosen},
            on.options: {"values": values, "defaults": usual, "editor": editor_of(usual["mode"])},
            on.strength: float(usual["strength"]),
        }
        if known:
            return sets | self._kept(kept)
        return sets | (self.example(stands, request) if self.studio.options.backbone == "pocket" else {})

    def _kept(self, kept: Mapping[str, Any]) -> Sets:
        """What a tab had: its fields, the edit that runs, the result that was shown, the mask that was looked at."""
        on, drop = self.on, kept["drop"]
        sets = {getattr(on, name): kept[name] for name in KEPT if name in kept}
        sets |= {on.drop: self._drop(drop["clip"], drop.get("start"), drop.get("frames"))}
        sets |= {on.words: kept.get("words") or {"sides": []}, on.mask_file: kept.get("maskfile") or {"file": None}}
        sets |= {on.several: kept.get("several") or {"items": []}}
        job = (kept.get("live") or {}).get("job")
        shown = self._status((kept.get("player") or {}).get("id"))
        look = kept.get("painter") or NO_MASK
        running = self._status(job) is not None
        return sets | {
            on.live: {"job": job if running else None},
            on.result: shown,
            on.painter: look if self._status(look.get("look")) is not None else NO_MASK,
            on.empty: gr.update(visible=shown is None and not running),
        }

    def example(self, stands: Stands, request: gr.Request) -> Sets:
        """The fox, and what may be done to it."""
        on, known = self.on, self.studio.example(FOX, owner_of(request))
        prompts = {on.instruction: INSTRUCTION, on.source: known["settings"]["source"], on.own: False, on.target: ""}
        return {on.drop: self._drop(known["clip"]), **prompts}

    # What stands in the fields

    def read(self, stands: Stands) -> Sets:
        """What the sentences come to, the words in them as chips, and which fields are needed."""
        on, asked = self.on, self._asked(stands)
        sets: Sets = {on.instruction: gr.update(visible=not asked.own), on.target: gr.update(visible=asked.own)}
        if asked.look is not None and self._of_others(asked):
            sets |= {on.painter: NO_MASK, on.said: line("The words are others now: look at the mask again.", good=True)}
        if 'role="alert"' in (stands.get(on.said) or ""):
            sets |= {on.said: ""}  # what it refused is another sentence now
        of, words = [asked.instruction, asked.source, asked.target, asked.own], stands[on.words] or {}
        known, of_model = words_of(asked.backbone), {"of": of, "model": asked.backbone}
        if words.get("of") == of:
            if words.get("model") == asked.backbone:
                return sets
            sides = chips.marked(words.get("sides") or [], asked.words, known)
            return sets | {on.words: {**words, **of_model, "sides": sides}, on.reads: sentences.told(asked, sides)}
        sides = chips.marked(sentences.sides(asked), {}, known)
        return sets | {on.reads: sentences.told(asked, sides), on.words: {"sides": sides, **of_model}}

    def own(self, stands: Stands) -> Sets:
        """Who writes both sentences begins with what the instruction came to, or with what the clip shows."""
        on, asked = self.on, self._asked(stands)
        if not asked.own or asked.target.strip():
            return self._nothing()
        try:
            read = read_of(asked.instruction, asked.source) if asked.instruction.strip() else None
        except Error:
            read = None
        sets: Sets = {on.target: (read and read.target) or asked.source}
        return sets if asked.source.strip() or read is None else sets | {on.source: read.source or ""}

    def vary(self, stands: Stands) -> Sets:
        """The list that belongs to what is varied; methods have one of their own."""
        on, vary = self.on, stands[self.on.vary]
        return {on.seeds: gr.update(visible=vary == "seed"), on.strengths: gr.update(visible=vary == "strength")}

    def _of_others(self, asked: Asked) -> bool:
        """Whether the mask was looked at with other sentences than stand there now."""
        settings = (self._status(asked.look) or {}).get("settings") or {}
        if settings.get("instruction") is None:
            return asked.own and (settings.get("source") or "", settings.get("target")) != (asked.source, asked.target)
        return asked.own or (settings.get("source") or "", settings["instruction"]) != (asked.source, asked.instruction)

    def usual(self, stands: Stands) -> Sets:
        """What is usual for the method, the model and the quality that are chosen."""
        on, asked = self.on, self._asked(stands)
        options = stands[on.options] or {}
        usual = default_texts({"backbone": asked.backbone, "quality": asked.quality, **asked.options})
        before = options.get("defaults") or {}
        if not usual or usual == before:
            return self._nothing()
        new = {**options, "defaults": usual, "editor": editor_of(usual["mode"])}
        moved = before.get("strength") not in (None, f"{asked.strength:g}")
        return {on.options: new} if moved else {on.options: new, on.strength: float(usual["strength"])}

    def clip(self, stands: Stands) -> Sets:
        """Another clip, or another part of it: the mask that was looked at, or given, is of no use any more.

        An edit that was dropped here for its settings is no other clip.
        """
        on, drop = self.on, stands[self.on.drop] or {}
        if (taken := drop.get("taken")) is not None:
            return self._taken(taken, drop)
        own = (drop.get("clip") or {}).get("id"), drop.get("start") or 0, drop.get("frames")
        painter, given = stands[on.painter] or NO_MASK, stands[on.mask_file] or {}
        sets: Sets = {on.said: "", on.live: gr.skip()}
        if (stands[on.live] or {}).get("state") == "failed":
            sets |= {on.live: {"job": None}}  # what it said was of the clip before
        if own[0] is not None and not _is_fox(drop) and stands[on.source] == FOX_SOURCE:
            sets |= {on.source: "", on.instruction: ""}
        if painter.get("look") and _part(painter) != own:
            sets |= {on.painter: NO_MASK, on.said: line("The clip is another now: look at its mask again.", good=True)}
        if given.get("file") and given.get("of") not in (None, own[0]):
            sets |= {on.mask_file: {"file": None}}
        return sets

    def describe(self, stands: Stands) -> Sets:
        """A sentence about the clip, by the model that the studio was started with."""
        try:
            return {self.on.source: self.studio.describe(clip_id(self._asked(stands))), self.on.said: ""}
        except Error as error:
            return {self.on.said: line(str(error))}

    # What runs

    def edit(self, stands: Stands, request: gr.Request) -> Sets:
        """Edit the clip."""
        return self._start("edit", stands, request)

    def look(self, stands: Stands, request: gr.Request) -> Sets:
        """Look for the mask."""
        return self._start("look", stands, request)

    def compare(self, stands: Stands, request: gr.Request) -> Sets:
        """Several methods at equal cost, with the report."""
        modes, evaluations = stands[self.on.methods], stands[self.on.evaluations]
        return self._start(
            "compare", stands, request, {"modes": list(modes or ()), "evaluations": int(evaluations or 48)}
        )

    def _start(self, kind: str, stands: Stands, request: gr.Request, more: Mapping[str, Any] | None = None) -> Sets:
        on, asked = self.on, self._asked(stands)
        try:
            settings = {**settings_of(asked), **(more or {})}
            if kind == "compare":
                settings.pop("mode", None)
            mask = None if kind == "look" else mask_of(asked)
            job = self.studio.submit(kind, clip_id(asked), settings, owner_of(request), mask)
        except Error as error:
            return {on.said: line(str(error))}
        return {on.live: {"job": job}, on.said: "", on.empty: gr.update(visible=False)}

    def several(self, stands: Stands, request: gr.Request) -> Sets:
        """One edit for each value, or by each method; they wait in the queue and appear one by one."""
        on, asked, vary = self.on, self._asked(stands), stands[self.on.vary]
        items: list[dict[str, Any]] = []
        said = ""
        try:
            settings, mask, clip = settings_of(asked), mask_of(asked), clip_id(asked)
            values = stands[on.methods] if vary == "method" else numbers(vary, stands[self._list(vary)])
            for value in values or ():
                own = {**settings, "mode" if vary == "method" else vary: value}
                job = self.studio.submit("edit", clip, own, owner_of(request), mask)
                items.append({"label": str(value) if vary == "method" else f"{vary} {value:g}", "job": job})
        except Error as error:
            said = f"{len(items)} of them are made; the next is not: {error}" if items else str(error)
        sets: Sets = {on.said: line(said)}
        return sets | ({on.several: {"items": items}, on.empty: gr.update(visible=False)} if items else {})

    def _list(self, vary: str) -> Any:
        return self.on.seeds if vary == "seed" else self.on.strengths

    def ended(self, stands: Stands, request: gr.Request) -> Sets:
        """A job is over: its result takes its place."""
        on, live = self.on, stands[self.on.live] or {}
        status = self._status(live.get("job")) if "state" in live else None
        if status is None or not (status["files"] or (status["kind"] == "look" and status["state"] == "done")):
            return self._nothing()  # the part says why
        if status["kind"] == "look":
            return {on.live: {"job": None}, on.said: "", on.painter: self._painter(status, {})}
        return {on.live: {"job": None}, on.said: "", on.result: status, on.history: _anew()}

    # What was made before

    def go_on(self, stands: Stands) -> Sets:
        """Go on from one of several: it is shown, and its settings are those of the page."""
        status = self._status((stands[self.on.several] or {}).get("chosen"))
        return self._nothing() if status is None else self._again(status)

    def chosen(self, stands: Stands, request: gr.Request) -> Sets:
        """A card of the history was chosen or deleted, or an edit's file was dropped there."""
        on, history = self.on, stands[self.on.history] or {}
        if (gone := history.get("deleted")) is not None:
            return self._delete(str(gone), stands, request)
        chosen = history.get("chosen")
        if chosen is None:
            return self._nothing()
        status = self._status(chosen.get("id"))
        if status is not None and status.get("settings") is None:  # of the command line: shown, its file knows the rest
            return {on.result: status, on.empty: gr.update(visible=False), on.said: ""}
        if status is not None:
            return self._again(status)
        return self._taken(chosen, stands[on.drop] or {})

    def _taken(self, taken: Mapping[str, Any], drop: Mapping[str, Any]) -> Sets:
        """The settings of an edit's file are on the page; the clip that is there stays, its part as in them."""
        settings, clip = dict(taken.get("settings") or {}), self._clip((drop.get("clip") or {}).get("id"))
        start, frames = (int(settings.get(key) or least) for key, least in (("start", 0), ("frames", 1)))
        if clip is None or start + frames > clip["frames"]:  # they are of a longer clip
            settings.pop("start", None), settings.pop("frames", None)
        told = ["Its settings are on the page now.", *(taken.get("notices") or [])]
        sets = self._fields(settings, None if clip is None else clip["id"])
        return {self.on.drop: self._drop(clip)} | sets | {self.on.said: line(" ".join(told), good=True)}

    def _delete(self, id: str, stands: Stands, request: gr.Request) -> Sets:
        on, said = self.on, ""
        try:
            self.studio.delete(id)
        except Error as error:
            said = str(error)
        sets: Sets = {on.history: _anew(), on.said: line(said)}
        shown = (stands[on.result] or {}).get("id") == id and not said
        return sets | ({on.result: None, on.empty: gr.update(visible=True)} if shown else {})

    def _again(self, status: Mapping[str, Any]) -> Sets:
        """A job is shown, and all that it was asked is on the page, its mask too."""
        on, mask = self.on, status.get("mask") or {}
        sets = self._fields(status["settings"] or {}, status.get("clip"))
        look = self._status(mask.get("look"))
        adjust = {key: mask.get(key) for key in ("quantile", "grow", "strokes", "boxes") if mask.get(key) is not None}
        given = self._clip(mask.get("file"))
        told = "It is shown, and its settings are on the page."
        if mask and look is None and given is None:
            told += " Its mask is gone: look at the mask again."
        return sets | {
            on.result: status,
            on.empty: gr.update(visible=False),
            on.painter: NO_MASK if look is None else self._painter(look, adjust),
            on.mask_file: {"file": None if given is None else {"id": given["id"], "name": given["name"]}},
            on.said: line(told, good=True),
        }

    def _fields(self, settings: Mapping[str, Any], clip: str | None) -> Sets:
        """The fields of the page as these settings have them."""
        on, rest = self.on, dict(settings)
        own = rest.get("instruction") is None
        sides = {side: text for side in ("source", "target") if (text := rest.pop(f"{side}_words", None))}
        start, frames = rest.get("start"), rest.get("frames")
        sets: Sets = {}
        if (known := self._clip(clip)) is not None:
            sets[on.drop] = self._drop(known, start, frames)
            rest.pop("start", None), rest.pop("frames", None)
        for place in ("clip", "out"):
            rest.pop(place, None)
        instruction, source, target = (str(rest.pop(key, None) or "") for key in ("instruction", "source", "target"))
        backbone = str(rest.pop("backbone", None) or self.studio.options.backbone)
        quality, strength, seed = rest.pop("quality", "auto"), rest.pop("strength", None), rest.pop("seed", 0)
        values = {key: typed(value) for key, value in rest.items()}
        usual = default_texts({"backbone": backbone, "quality": quality, **values})
        of: list[Any] = [instruction, source, target, own]
        words: dict[str, Any] = {"sides": chips.of_prompts(source, target, sides), "of": of}
        words["chosen"] = {f"{side}_words": text for side, text in sides.items()}
        return sets | {
            on.instruction: instruction,
            on.source: source,
            on.own: own,
            on.target: target,
            on.words: words if own else {"sides": sentences.of_instruction(instruction, source), "of": of},
            on.quality: quality,
            on.strength: float(usual.get("strength", 0.8) if strength is None else strength),
            on.seed: seed,
            on.models: {"items": self.studio.backbones(), "chosen": backbone},
            on.options: {"values": values, "defaults": usual, "editor": editor_of(usual.get("mode", "inversion_free"))},
        }

    def _nothing(self) -> Sets:
        """All stays as it is; Gradio wants one element named."""
        return {self.on.said: gr.skip()}

    def _painter(self, look: Mapping[str, Any], adjust: Mapping[str, Any]) -> dict[str, Any]:
        settings = look["settings"]
        part = {key: int(settings[key]) for key in ("start", "frames") if settings.get(key) is not None}
        return {"look": look["id"], "clip": self._clip(look["clip"]), "adjust": dict(adjust), **part}

    def _drop(self, clip: Any, start: Any = None, frames: Any = None) -> dict[str, Any]:
        """What the clip's part shows: a clip, the part of it that is edited, and the bytes that an upload may have."""
        part = {key: int(value) for key, value in (("start", start), ("frames", frames)) if value is not None}
        return {"clip": clip, "limit": self.studio.options.most_bytes, **part}

    def _clip(self, id: str | None) -> dict[str, Any] | None:
        """A clip that is there still."""
        try:
            return None if id is None else self.studio.clip(id).plain()
        except Error:
            return None

    def _status(self, job: str | None) -> dict[str, Any] | None:
        """What is known of a job that is there still."""
        try:
            return None if job is None else self.studio.status(job)
        except Error:
            return None

    def _asked(self, stands: Stands) -> Asked:
        on = self.on
        words, painter, given = stands[on.words] or {}, stands[on.painter] or {}, stands[on.mask_file] or {}
        instruction, source, target = (str(stands[each] or "") for each in (on.instruction, on.source, on.target))
        own = bool(stands[on.own])
        return Asked(
            clip=stands[on.drop],
            instruction=instruction,
            source=source,
            own=own,
            target=target,
            words=(words.get("chosen") or {}) if words.get("of") == [instruction, source, target, own] else {},
            quality=stands[on.quality],
            strength=round(float(stands[on.strength]), 4),
            seed=int(stands[on.seed] or 0),
            backbone=str((stands[on.models] or {}).get("chosen")),
            options=(stands[on.options] or {}).get("values") or {},
            adjust=painter.get("adjust"),
            look=painter.get("look"),
            mask_file=given.get("file"),
            wrong=(stands[on.options] or {}).get("wrong") or (),
        )


def _anew() -> dict[str, Any]:
    """What has the history asked for anew: another value than the last."""
    return {"of": time.time()}


def _is_fox(drop: Mapping[str, Any]) -> bool:
    return bool(drop.get("clip")) and drop["clip"].get("name") == f"{FOX}.mp4"


def _part(painter: Mapping[str, Any]) -> tuple[Any, ...]:
    return (painter.get("clip") or {}).get("id"), painter.get("start") or 0, painter.get("frames")
