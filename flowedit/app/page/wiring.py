"""What happens when something on the page is touched: which handler is called, with what, and what it sets."""

from types import SimpleNamespace
from typing import Any

import gradio as gr

from flowedit.app.desk import Studio
from flowedit.app.page.handlers import Handlers

KEPT = ("instruction", "source", "own", "target", "quality", "strength", "seed", "vary", "values", "methods")
"""Fields of Gradio's that a tab keeps over a reload; the parts keep theirs by themselves."""


def connect(blocks: gr.Blocks, on: SimpleNamespace, studio: Studio) -> None:
    """Bind every element of the page to its handler."""
    do = Handlers(studio)
    asked = [
        on.drop, on.instruction, on.source, on.own, on.target, on.words, on.quality, on.strength, on.seed,
        on.models, on.options, on.painter, on.mask_file,
    ]  # fmt: skip

    for name in KEPT:
        field = getattr(on, name)
        field.change(None, field, None, js=f"(value) => window.flowedit.keep('{name}', value)", **_quiet())

    prompts = [on.instruction, on.source, on.own, on.target]
    gr.on(
        [on.instruction.change, on.source.change, on.target.change, on.own.change],
        do.read, [*prompts, on.words], [on.reads, on.words, on.instruction, on.target],
        trigger_mode="always_last", **_quiet(),
    )  # fmt: skip
    gr.on(
        [on.options.change, on.models.change, on.quality.change],
        do.usual, [*asked], [on.options, on.strength], trigger_mode="always_last", **_quiet(),
    )  # fmt: skip

    on.example.click(do.example, None, [on.drop, *prompts, on.empty], **_quiet())
    on.drop.change(do.clip, [on.drop, on.painter], [on.painter, on.said], **_quiet())
    on.describe.click(do.describe, [on.drop], [on.source, on.said], **(_quiet() | {"show_progress": "minimal"}))

    started = [on.live, on.said, on.empty]
    on.look.click(do.look, asked, started, **_quiet())
    gr.on([on.edit.click, on.instruction.submit, on.target.submit], do.edit, asked, started, **_quiet())
    on.compare.click(do.compare, [*asked, on.methods, on.evaluations], started, **_quiet())
    on.several_go.click(do.several, [*asked, on.vary, on.values], [on.several, on.said, on.empty], **_quiet())

    ended = [on.live, on.result, on.painter, on.history, on.said]
    on.live.change(do.ended, [on.live, on.drop], ended, **_quiet())
    fields = [on.drop, *prompts, on.words, on.quality, on.strength, on.seed, on.models, on.options]
    gr.on([on.several.change], do.go_on, [on.several], [on.result, *fields], **_quiet())
    on.history.change(do.chosen, [on.history], [on.result, on.history, on.empty, *fields, on.said], **_quiet())

    whole = [
        *fields,
        on.painter,
        on.mask_file,
        on.live,
        on.result,
        on.several,
        on.history,
        on.empty,
        on.vary,
        on.values,
        on.methods,
    ]
    blocks.load(do.begin, [on.kept], whole, js="() => [window.flowedit.kept()]", **_quiet())


def _quiet() -> dict[str, Any]:
    """No bars over the page, no door to the handlers from outside, and none waits for another."""
    return {"show_progress": "hidden", "api_visibility": "private", "queue": False}
