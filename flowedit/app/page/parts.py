"""The page's own parts: gr.HTML elements whose insides an ES module mounts, with one plain value each way."""

from pathlib import Path
from typing import Any

import gradio as gr

STATIC = Path(__file__).parent / "static"
PLACE = "/static/parts"
"""Where the server offers `STATIC`."""

_LOAD = """\
import('{place}/glue.js').then((glue) => glue.bind('{name}', element, props, watch));
"""


def part(name: str, value: Any) -> gr.HTML:
    """A part by its name in static/glue.js. `value` is plain; a user's text in it is shown as text by the module."""
    return gr.HTML(
        value,
        html_template=f'<div class="fe-part fe-{name}"></div>',
        js_on_load=_LOAD.format(place=PLACE, name=name),
        elem_id=f"fe-{name}",
        container=False,
        apply_default_css=False,
    )
