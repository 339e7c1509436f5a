"""What was made before comes back to the page: an edit of the history, one of several, an edit's file."""

from collections.abc import Mapping
from typing import Any

import gradio as gr

from flowedit.app.jobs import typed
from flowedit.app.page import chips, sentences
from flowedit.app.page.choices import ON_PAGE, default_texts, editor_of, entries
from flowedit.app.page.known import NO_MASK, Known, Sets, Stands, anew, good, owner_of
from flowedit.messages import Error

NOT_HERE = "The clip that it was made of is not here."


class Earlier:
    """The handlers of what was made before."""

    def __init__(self, known: Known) -> None:
        self._known, self._studio, self._on = known, known.studio, known.on
        self._offered = {each["key"] for each in entries(known.studio.options.allow)}

    def go_on(self, stands: Stands) -> Sets:
        """Go on from one of several: it is shown, and its settings are those of the page."""
        status = self._known.status((stands[self._on.several] or {}).get("chosen"))
        return self._known.nothing() if status is None else self._again(status, stands[self._on.drop] or {})

    def chosen(self, stands: Stands, request: gr.Request) -> Sets:
        """A card of the history was chosen or deleted, or an edit's file was dropped there."""
        on, history = self._on, stands[self._on.history] or {}
        if (gone := history.get("deleted")) is not None:
            return self._delete(str(gone), stands, request)
        chosen = history.get("chosen")
        if chosen is None:
            return self._known.nothing()
        if "id" not in chosen:
            return self.taken(chosen, stands[on.drop] or {})
        if (status := self._known.status(chosen["id"])) is None:
            return {on.said: self._known.line("This edit is not there any more."), on.history: anew()}
        return self._again(status, stands[on.drop] or {})

    def taken(self, taken: Mapping[str, Any], drop: Mapping[str, Any]) -> Sets:
        """The settings of an edit's file are on the page; the clip that is there stays, its part as in them."""
        sets, left = self._fields(taken.get("settings") or {}, drop, None)
        told = ["Its settings are on the page now.", *left, *(taken.get("notices") or [])]
        return sets | {self._on.said: good(" ".join(told))}

    def _delete(self, id: str, stands: Stands, request: gr.Request) -> Sets:
        on, said = self._on, ""
        try:
            self._studio.delete(id, owner_of(request))
        except Error as error:
            said = str(error)
        sets: Sets = {on.history: anew(), on.said: self._known.line(said)}
        shown = (stands[on.result] or {}).get("id") == id and not said
        return sets | ({on.result: None, on.empty: gr.update(visible=True)} if shown else {})

    def _again(self, status: Mapping[str, Any], drop: Mapping[str, Any]) -> Sets:
        """A job is shown, and all that it was asked is on the page, its mask too where its clip is there."""
        on, mask = self._on, status.get("mask") or {}
        shown: Sets = {on.result: status, on.empty: gr.update(visible=False)}
        left = [f"{text[:1].upper()}{text[1:]}." for text in status.get("left_out") or ()]
        if status["settings"] is None:
            return shown | {on.said: good(" ".join(["It is shown; the page stays as it was.", *left]))}
        clip = self._known.clip(status.get("clip"))
        sets, gone = self._fields(status["settings"], drop, clip)
        look = self._known.status(mask.get("look")) if clip is not None else None
        given = self._known.clip(mask.get("file")) if clip is not None else None
        adjust = {key: mask.get(key) for key in ("quantile", "grow", "strokes", "boxes") if mask.get(key) is not None}
        told = ["It is shown, and its settings are on the page."]
        if clip is None:
            told += [NOT_HERE]
        if mask and look is None and given is None:
            told += ["Its mask is gone: look at the mask again."]
        return (
            shown
            | sets
            | {
                on.painter: NO_MASK if look is None else self._known.painter(look, adjust),
                on.mask_file: {"file": None if given is None else {"id": given["id"], "name": given["name"]}},
                on.said: good(" ".join([*told, *gone, *left])),
            }
        )

    def _fields(
        self, settings: Mapping[str, Any], drop: Mapping[str, Any], clip: dict[str, Any] | None
    ) -> tuple[Sets, list[str]]:
        """The fields of the page as these settings have them, and what is to be said of what has no field.

        `drop` is what stands in the clip's part, which `clip`, the one that the settings are of, takes the place of.
        """
        on, rest = self._on, {key: value for key, value in settings.items() if key not in ("clip", "out", "caption")}
        own, told = rest.get("instruction") is None, list[str]()
        sides = {side: text for side in ("source", "target") if (text := rest.pop(f"{side}_words", None))}
        start, frames = rest.pop("start", None), rest.pop("frames", None)
        there = clip if clip is not None else self._known.clip((drop.get("clip") or {}).get("id"))
        if clip is None and (start, frames) != (None, None) and not _fits(there, start, frames):
            start = frames = None
            told += ["Its part is of another clip, and is left out: the part is the clip's own."]
        sets: Sets = {on.drop: self._known.drop(there, start, frames)}
        instruction, source, target = (str(rest.pop(key, None) or "") for key in ("instruction", "source", "target"))
        backbone = str(rest.pop("backbone", None) or self._studio.options.backbone)
        quality, strength, seed = rest.pop("quality", "auto"), rest.pop("strength", None), rest.pop("seed", 0)
        for key, field in (("modes", on.methods), ("evaluations", on.evaluations)):  # of a comparison
            if isinstance(value := rest.pop(key, None), list if key == "modes" else int):
                sets[field] = value
        values = {key: typed(value) for key, value in rest.items() if key in self._offered and key not in ON_PAGE}
        if lost := sorted(set(rest) - set(values)):
            told += [f"Left out, as the page has no field for it: {', '.join(lost)}."]
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
            on.models: {"items": self._studio.backbones(), "chosen": backbone},
            on.options: {"values": values, "defaults": usual, "editor": editor_of(usual.get("mode", "inversion_free"))},
        }, told


def _fits(clip: Mapping[str, Any] | None, start: Any, frames: Any) -> bool:
    """Whether a clip has this part."""
    return clip is not None and int(start or 0) + int(frames or 1) <= clip["frames"]
