"""What the page does: a handler takes what stands on it, asks the studio, and returns what is to stand there."""

from collections.abc import Mapping
from typing import Any

import gradio as gr

from flowedit.app.models import words_of
from flowedit.app.page import chips, sentences
from flowedit.app.page.choices import default_texts, editor_of
from flowedit.app.page.earlier import Earlier
from flowedit.app.page.gather import KEPT, Asked, clip_id, mask_of, numbers, read_of, settings_of
from flowedit.app.page.known import NO_MASK, Known, Sets, Stands, anew, good, owner_of
from flowedit.messages import Error

FOX, INSTRUCTION, FOX_SOURCE = "fox", "replace the fox with a panda", "a fox moves right over green grass"


class Handlers:
    """The handlers of one studio. Nothing is kept between two of them."""

    def __init__(self, known: Known, earlier: Earlier) -> None:
        self._known, self._earlier = known, earlier
        self.studio, self.on = known.studio, known.on

    # What a page begins with

    def begin(self, stands: Stands, request: gr.Request) -> Sets:
        """A new tab gets the fox, where the model knows it; one that was loaded again, what it had."""
        on, kept = self.on, stands[self.on.kept] or {}
        known = (
            kept.get("drop") is not None and self._known.clip((kept["drop"].get("clip") or {}).get("id")) is not None
        )
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
        sets |= {on.drop: self._known.drop(drop["clip"], drop.get("start"), drop.get("frames"))}
        sets |= {on.words: kept.get("words") or {"sides": []}, on.mask_file: kept.get("maskfile") or {"file": None}}
        sets |= {on.several: kept.get("several") or {"items": []}}
        job = (kept.get("live") or {}).get("job")
        shown = self._known.status((kept.get("player") or {}).get("id"))
        look = kept.get("painter") or NO_MASK
        running = self._known.status(job) is not None
        return sets | {
            on.live: {"job": job if running else None},
            on.result: shown,
            on.painter: look if self._known.status(look.get("look")) is not None else NO_MASK,
            on.empty: gr.update(visible=shown is None and not running),
        }

    def example(self, stands: Stands, request: gr.Request) -> Sets:
        """The fox, and what may be done to it."""
        on, known = self.on, self.studio.example(FOX, owner_of(request))
        prompts = {on.instruction: INSTRUCTION, on.source: known["settings"]["source"], on.own: False, on.target: ""}
        return {on.drop: self._known.drop(known["clip"]), **prompts}

    # What stands in the fields

    def read(self, stands: Stands) -> Sets:
        """What the sentences come to, the words in them as chips, and which fields are needed."""
        on, asked = self.on, self._asked(stands)
        sets: Sets = {on.instruction: gr.update(visible=not asked.own), on.target: gr.update(visible=asked.own)}
        if asked.look is not None and self._of_others(asked):
            sets |= {on.painter: NO_MASK, on.said: good("The words are others now: look at the mask again.")}
        if 'role="alert"' in (stands.get(on.said) or ""):
            sets |= {on.said: ""}  # what it refused is another sentence now
        of, words = [asked.instruction, asked.source, asked.target, asked.own], stands[on.words] or {}
        known, of_model = words_of(asked.backbone), {"of": of, "model": asked.backbone}
        if words.get("of") == of:
            if words.get("model") == asked.backbone:
                return sets
            sides = chips.marked(words.get("sides") or [], asked.words, known)
            return sets | {
                on.words: {**words, **of_model, "sides": sides},
                on.reads: sentences.told(asked, sides, self._known.line),
            }
        sides = chips.marked(sentences.sides(asked), {}, known)
        return sets | {on.reads: sentences.told(asked, sides, self._known.line), on.words: {"sides": sides, **of_model}}

    def own(self, stands: Stands) -> Sets:
        """Who writes both sentences begins with what the instruction came to, or with what the clip shows."""
        on, asked = self.on, self._asked(stands)
        if not asked.own or asked.target.strip():
            return self._known.nothing()
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
        settings = (self._known.status(asked.look) or {}).get("settings") or {}
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
            return self._known.nothing()
        new = {**options, "defaults": usual, "editor": editor_of(usual["mode"])}
        moved = before.get("strength") not in (None, f"{asked.strength:g}")
        return {on.options: new} if moved else {on.options: new, on.strength: float(usual["strength"])}

    def clip(self, stands: Stands) -> Sets:
        """Another clip, or another part of it: the mask that was looked at, or given, is of no use any more.

        An edit that was dropped here for its settings is no other clip.
        """
        on, drop = self.on, stands[self.on.drop] or {}
        if (taken := drop.get("taken")) is not None:
            return self._earlier.taken(taken, drop)
        own = (drop.get("clip") or {}).get("id"), drop.get("start") or 0, drop.get("frames")
        painter, given = stands[on.painter] or NO_MASK, stands[on.mask_file] or {}
        sets = self._known.of_clip_before(stands, own[0])
        if (stands[on.live] or {}).get("state") == "failed":
            sets |= {on.live: {"job": None}}  # what it said was of the clip before
        if own[0] is not None and not _is_fox(drop) and stands[on.source] == FOX_SOURCE:
            sets |= {on.source: "", on.instruction: ""}
        if painter.get("look") and _part(painter) != own:
            sets |= {on.painter: NO_MASK, on.said: good("The clip is another now: look at its mask again.")}
        if given.get("file") and given.get("of") not in (None, own[0]):
            sets |= {on.mask_file: {"file": None}}
        return sets

    def describe(self, stands: Stands) -> Sets:
        """A sentence about the clip, by the model that the studio was started with."""
        try:
            return {self.on.source: self.studio.describe(clip_id(self._asked(stands))), self.on.said: ""}
        except Error as error:
            return {self.on.said: self._known.line(str(error))}

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
            return {on.said: self._known.line(str(error))}
        return {on.live: {"job": job}, on.said: "", on.empty: gr.update(visible=False)}

    def several(self, stands: Stands, request: gr.Request) -> Sets:
        """One edit for each value, or by each method; they wait in the queue and appear one by one."""
        on, asked, vary = self.on, self._asked(stands), stands[self.on.vary]
        items: list[dict[str, Any]] = []
        said, clip = "", None
        try:
            settings, mask, clip = settings_of(asked), mask_of(asked), clip_id(asked)
            values = stands[on.methods] if vary == "method" else numbers(vary, stands[self._list(vary)])
            for value in values or ():
                own = {**settings, "mode" if vary == "method" else vary: value}
                job = self.studio.submit("edit", clip, own, owner_of(request), mask)
                items.append({"label": str(value) if vary == "method" else f"{vary} {value:g}", "job": job})
        except Error as error:
            said = f"{len(items)} of them are made; the next is not: {error}" if items else str(error)
        sets: Sets = {on.said: self._known.line(said)}
        row = {on.several: {"items": items, "clip": clip}, on.empty: gr.update(visible=False)}
        return sets | (row if items else {})

    def _list(self, vary: str) -> Any:
        return self.on.seeds if vary == "seed" else self.on.strengths

    def ended(self, stands: Stands, request: gr.Request) -> Sets:
        """A job is over: its result takes its place."""
        on, live = self.on, stands[self.on.live] or {}
        status = self._known.status(live.get("job")) if "state" in live else None
        if status is None or not (status["files"] or (status["kind"] == "look" and status["state"] == "done")):
            return self._known.nothing()  # the part says why
        if status["kind"] == "look":
            return {on.live: {"job": None}, on.painter: self._known.painter(status, {})}
        return {on.live: {"job": None}, on.result: status, on.history: anew()}

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


def _is_fox(drop: Mapping[str, Any]) -> bool:
    return bool(drop.get("clip")) and drop["clip"].get("name") == f"{FOX}.mp4"


def _part(painter: Mapping[str, Any]) -> tuple[Any, ...]:
    return (painter.get("clip") or {}).get("id"), painter.get("start") or 0, painter.get("frames")
