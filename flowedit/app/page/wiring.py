"""What happens when something on the page is touched: which handler is called, with what, and what it sets."""

from types import SimpleNamespace
from typing import Any

import gradio as gr

from flowedit.app.desk.studio import Studio
from flowedit.app.page.earlier import Earlier
from flowedit.app.page.gather import KEPT
from flowedit.app.page.handlers import Handlers
from flowedit.app.page.known import Known


def connect(blocks: gr.Blocks, on: SimpleNamespace, studio: Studio) -> None:
    """Bind every element to its handler: a set of inputs reaches it by element, and what it sets comes so, too."""
    known = Known(studio, on)
    earlier = Earlier(known)
    do = Handlers(known, earlier)
    prompts = [on.instruction, on.source, on.own, on.target]
    asked = {
        on.drop, *prompts, on.words, on.quality, on.strength, on.seed, on.models, on.options, on.painter, on.mask_file,
    }  # fmt: skip
    fields = [
        on.drop, *prompts, on.words, on.quality, on.strength, on.seed, on.models, on.options, on.methods,
        on.evaluations,
    ]  # fmt: skip
    shown = [on.result, on.empty, on.said]
    last: dict[str, Any] = {"trigger_mode": "always_last", **_quiet()}

    for name in KEPT:
        field = getattr(on, name)
        field.change(None, field, None, js=f"(value) => window.flowedit.keep('{name}', value)", **_quiet())

    changed = [field.change for field in (*prompts, on.models)]
    gr.on(
        changed,
        do.read,
        asked | {on.said},
        [on.reads, on.words, on.instruction, on.target, on.painter, on.said],
        **last,
    )
    on.own.input(do.own, asked, [on.target, on.source, on.said], **_quiet())
    on.vary.change(do.vary, {on.vary}, [on.seeds, on.strengths], **_quiet())
    of = [on.options.change, on.models.change, on.quality.change]
    gr.on(of, do.usual, asked, [on.options, on.strength, on.said], **last)
    on.example.click(do.example, {on.kept}, [on.drop, *prompts], **_quiet())
    another = {on.drop, on.painter, on.mask_file, on.live, on.source, on.result, on.several, on.said}
    masks = [*fields, on.painter, on.mask_file, on.said, on.live, on.result, on.several, on.empty]
    on.drop.change(do.clip, another, masks, **_quiet())
    on.describe.click(do.describe, asked, [on.source, on.said], **(_quiet() | {"show_progress": "minimal"}))

    started = [on.live, on.said, on.empty]
    on.look.click(do.look, asked, started, **_quiet())
    gr.on([on.edit.click, on.instruction.submit, on.target.submit], do.edit, asked, started, **_quiet())
    on.compare.click(do.compare, asked | {on.methods, on.evaluations}, started, **_quiet())
    rows = asked | {on.vary, on.seeds, on.strengths, on.methods}
    on.several_go.click(do.several, rows, [on.several, on.said, on.empty], **_quiet())

    on.live.change(do.ended, {on.live}, [on.live, on.result, on.painter, on.history, on.said], **_quiet())
    again = [*shown, *fields, on.painter, on.mask_file]
    on.several.change(earlier.go_on, {on.several, on.drop}, again, **_quiet())
    on.history.change(earlier.chosen, {on.history, on.result, on.drop}, [*again, on.history], **_quiet())

    whole = [*again, on.live, on.several, on.history, on.vary, on.seeds, on.strengths]
    blocks.load(do.begin, {on.kept}, whole, js="() => [window.flowedit.kept()]", **_quiet())


def _quiet() -> dict[str, Any]:
    """No bars over the page, no door to the handlers from outside, and none waits for another."""
    return {"show_progress": "hidden", "api_visibility": "private", "queue": False}
