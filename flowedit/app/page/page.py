"""The studio's page: what stands on it, and where; what happens when something is touched is in `wiring`."""

from types import SimpleNamespace
from typing import Any

import gradio as gr
from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles

from flowedit.app.desk.studio import Studio
from flowedit.app.http.calls import FAILED, tell
from flowedit.app.page import choices, wiring
from flowedit.app.page.parts import PLACE, STATIC, part

HEAD = """\
<link rel="stylesheet" href="{place}/style.css"><link rel="stylesheet" href="{place}/page.css"><script>{keep}</script>
"""
"""Links, as Gradio would rewrite the rules of style sheets that it is given."""

TITLE = "flowedit studio"
COMPARED = ["random_noise", "inversion", "inversion_free"]
VARIED = ("seed", "strength", "method")


def mount(app: FastAPI, studio: Studio) -> FastAPI:
    """The server with the page at `/`: nothing is shared, counted or fetched from elsewhere."""
    declared = choices.entries(studio.options.allow)
    app.get(f"{PLACE}/options.json", include_in_schema=False)(lambda: declared)
    app.mount(PLACE, StaticFiles(directory=STATIC), name="parts")
    mounted: FastAPI = gr.mount_gradio_app(
        app,
        build(studio),
        "/",
        theme=theme(),
        head=HEAD.format(place=PLACE, keep=(STATIC / "keep.js").read_text(encoding="utf-8")),
        favicon_path=str(STATIC / "icon.svg"),
        footer_links=[],
        ssr_mode=False,
        show_error=False,
        enable_monitoring=False,
    )
    return mounted


def theme() -> gr.themes.Base:
    """Gradio's plainest theme with the colours of style.css and fonts that every machine has."""
    fonts = ["system-ui", "-apple-system", "Segoe UI", "sans-serif"]
    return gr.themes.Base(font=fonts, font_mono=["ui-monospace", "Consolas", "monospace"], radius_size="lg").set(
        body_background_fill="var(--fe-paper)",
        body_background_fill_dark="var(--fe-paper)",
        body_text_color="var(--fe-ink)",
        body_text_color_dark="var(--fe-ink)",
        body_text_color_subdued="var(--fe-soft)",
        body_text_color_subdued_dark="var(--fe-soft)",
        block_background_fill="transparent",
        block_background_fill_dark="transparent",
        block_border_width="0px",
        block_shadow="none",
        block_label_text_color="var(--fe-ink)",
        block_label_text_color_dark="var(--fe-ink)",
        block_title_text_color="var(--fe-ink)",
        block_title_text_color_dark="var(--fe-ink)",
        block_title_text_weight="600",
        block_info_text_color="var(--fe-soft)",
        block_info_text_color_dark="var(--fe-soft)",
        input_background_fill="var(--fe-card)",
        input_background_fill_dark="var(--fe-card)",
        input_placeholder_color="var(--fe-soft)",
        input_placeholder_color_dark="var(--fe-soft)",
        input_border_color="var(--fe-line)",
        input_border_color_dark="var(--fe-line)",
        input_border_color_focus="var(--fe-accent)",
        input_border_color_focus_dark="var(--fe-accent)",
        button_primary_background_fill="var(--fe-accent)",
        button_primary_background_fill_hover="var(--fe-ink)",
        button_primary_background_fill_hover_dark="var(--fe-ink)",
        button_primary_text_color_hover="var(--fe-paper)",
        button_primary_text_color_hover_dark="var(--fe-paper)",
        button_primary_background_fill_dark="var(--fe-accent)",
        button_primary_text_color="var(--fe-accent-ink)",
        button_primary_text_color_dark="var(--fe-accent-ink)",
        button_secondary_background_fill="var(--fe-card)",
        button_secondary_background_fill_dark="var(--fe-card)",
        button_secondary_text_color="var(--fe-ink)",
        button_secondary_text_color_dark="var(--fe-ink)",
        button_secondary_border_color="var(--fe-line)",
        button_secondary_border_color_dark="var(--fe-line)",
        slider_color="var(--fe-accent)",
        slider_color_dark="var(--fe-accent)",
        checkbox_background_color_selected="var(--fe-accent)",
        checkbox_background_color_selected_dark="var(--fe-accent)",
        checkbox_label_background_fill_selected="var(--fe-accent)",
        checkbox_label_background_fill_selected_dark="var(--fe-accent)",
        checkbox_label_text_color_selected="var(--fe-accent-ink)",
        checkbox_label_text_color_selected_dark="var(--fe-accent-ink)",
    )


class QuietBlocks(gr.Blocks):  # type: ignore[misc]
    """Blocks whose errors are told without what was sent."""

    async def process_api(self, *args: Any, **options: Any) -> dict[str, Any]:
        """One call of a handler; Gradio would print an error with the values that it was given."""
        try:
            return dict(await super().process_api(*args, **options))
        except Exception as error:
            tell(error)
            raise gr.Error(FAILED, print_exception=False) from None


def build(studio: Studio) -> gr.Blocks:
    """The page for one studio."""
    with QuietBlocks(title=TITLE, fill_width=True, analytics_enabled=False) as blocks:
        on = SimpleNamespace()
        gr.HTML(_HEAD, container=False, apply_default_css=False, elem_id="fe-head")
        with gr.Row(elem_id="fe-columns", equal_height=False):
            with gr.Column(scale=4, min_width=320, elem_id="fe-ask"):
                _ask(on, studio)
            with gr.Column(scale=7, min_width=320, elem_id="fe-see"):
                _see(on, studio)
        on.kept = gr.JSON(visible=False)
        wiring.connect(blocks, on, studio)
    return blocks


_HEAD = """\
<header class="fe-header"><h1>flowedit <span>studio</span></h1>
<p>Say what should change in a video. Everything stays on this machine.</p>
<nav aria-label="To read"><a href="/help#the-page" target="_blank">Help</a>
<a href="/docs" target="_blank">API</a></nav></header>"""


def _card(title: str, name: str) -> gr.Column:
    column = gr.Column(elem_classes="fe-card", elem_id=f"fe-card-{name}")
    with column:
        gr.HTML(f"<h2>{title}</h2>", container=False, apply_default_css=False)
    return column


def _ask(on: SimpleNamespace, studio: Studio) -> None:
    with _card("Your clip", "clip"):
        on.drop = part("drop", {"clip": None, "limit": studio.options.most_bytes})
        on.example = gr.Button("Try it with the fox", size="sm", elem_id="fe-example")
    with _card("What should change?", "change"):
        on.instruction = gr.Textbox(
            label="The change",
            placeholder="replace the fox with a panda",
            lines=1,
            max_lines=3,
            elem_id="fe-instruction",
        )
        on.source = gr.Textbox(
            label="What the clip shows now",
            placeholder="a fox moves right over green grass",
            info="One sentence about the whole picture. The edit gets better by it.",
            lines=1,
            max_lines=4,
            elem_id="fe-source",
        )
        on.describe = gr.Button("Describe the clip for me", size="sm", visible=studio.options.caption is not None)
        on.own = gr.Checkbox(label="Write both sentences myself", elem_id="fe-own")
        on.target = gr.Textbox(
            label="What it should show", lines=1, max_lines=4, visible=False, elem_id="fe-target",
            placeholder="a panda moves right over green grass",
        )  # fmt: skip
        on.reads = gr.HTML("", container=False, apply_default_css=False, elem_id="fe-reads")
        on.words = part("words", {"sides": []})
    with _card("Where?", "where"):
        gr.HTML(
            "<p>The words decide. Look at the place before you edit, and mend it with a brush if it is wrong.</p>",
            container=False,
            apply_default_css=False,
        )
        on.look = gr.Button("Look at the mask", elem_id="fe-look")
        on.mask_file = part("maskfile", {"file": None})
    with _card("How?", "how"):
        on.quality = gr.Radio(
            choices.names("quality"),
            value="auto",
            label="Quality",
            info="auto: the quality that our measurements found enough; best is slowest",
            elem_id="fe-quality",
        )
        on.strength = gr.Slider(
            0,
            1,
            value=0.8,
            step=0.05,
            label="Strength",
            info="0 leaves the clip as it is, 1 begins with noise alone",
            elem_id="fe-strength",
        )
        on.seed = gr.Number(
            value=0, precision=0, minimum=0, label="Seed: another number, another try", elem_id="fe-seed"
        )
        with gr.Accordion("All options", open=False, elem_id="fe-all"):
            on.options = part(
                "options",
                {
                    "values": {},
                    "defaults": choices.default_texts({"backbone": studio.options.backbone}),
                    "editor": choices.editor_of("inversion_free"),
                },
            )
    with gr.Accordion("Try several", open=False, elem_classes="fe-card", elem_id="fe-several-ask"):
        on.vary = gr.Radio(list(VARIED), value="seed", label="Of what", elem_id="fe-vary")
        on.seeds = gr.Textbox("0, 1, 2, 3", label="Which seeds", elem_id="fe-seeds")
        on.strengths = gr.Textbox("0.6, 0.7, 0.8, 0.9", label="Which strengths", visible=False, elem_id="fe-strengths")
        on.several_go = gr.Button("Make them all", elem_id="fe-several-go")
        on.methods = gr.Dropdown(
            choices.methods(),
            value=COMPARED,
            multiselect=True,
            label="Methods",
            elem_id="fe-methods",
        )
        on.evaluations = gr.Number(
            48,
            precision=0,
            minimum=1,
            label="Or at equal cost, with a report: runs of the model, of each",
            elem_id="fe-evaluations",
        )
        on.compare = gr.Button("Compare methods", elem_id="fe-compare")
    with gr.Column(elem_id="fe-go"):
        on.said = gr.HTML("", container=False, apply_default_css=False, elem_id="fe-said")
        on.edit = gr.Button("Edit the clip", variant="primary", elem_id="fe-edit")


def _see(on: SimpleNamespace, studio: Studio) -> None:
    on.live = part("live", {"job": None})
    on.painter = part("painter", {"look": None})
    on.result = part("player", None)
    on.several = part("several", {"items": []})
    on.empty = gr.HTML(
        '<p class="fe-none">Here is where you will see before and after.</p>',
        container=False,
        apply_default_css=False,
        elem_id="fe-empty",
    )
    with _card("Your edits", "history"):
        on.history = part("history", {"of": 0})
    with gr.Accordion("Models", open=False, elem_classes="fe-card", elem_id="fe-models-card"):
        on.models = part("models", {"items": [], "chosen": studio.options.backbone})
