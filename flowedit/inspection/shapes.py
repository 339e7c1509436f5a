"""Every shape on the way from a clip and a prompt to a velocity, as a table."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from flowedit.backbones.adapter import Adapter
from flowedit.backbones.text import Reading
from flowedit.types import Geometry

PADDING = {
    "read": "which is encoded like text",
    "zeros": "whose states are zeros",
    "hidden": "which the video does not see",
}
"""What becomes of a prompt's padding."""


class ShapeRow(NamedTuple):
    """What has a shape, the shape as text, and a word on it."""

    what: str
    shape: str
    note: str


def times(*sides: int) -> str:
    """Sides as text, such as 16×3×8×8."""
    return "×".join(map(str, sides))


def rows(
    backbone: Adapter, geometry: Geometry, source: tuple[int, ...] | None, own_tokens: int | None, width: int | None
) -> Iterator[ShapeRow]:
    """The table's rows; `source` (F, H, W) is the clip as given, `own_tokens` are the prompt's, of this `width`."""
    own, spec = backbone.architecture, backbone.spec
    channels, latents, height, wide = geometry.latent
    frames = geometry.frames, *geometry.size
    if source is not None:
        yield ShapeRow("clip", times(*source, 3), "frames, height, width, colours, as it is read")
        repeated = geometry.frames - geometry.source_frames
        yield ShapeRow(
            "clip, as the model takes it",
            times(*frames, 3),
            f"sides in multiples of {spec.multiple}, {own.frame_step} k + 1 frames"
            + (f": the last is repeated {'once' if repeated == 1 else f'{repeated} times'}" if repeated else ""),
        )
    shares = math.prod(frames) * 3 / math.prod(geometry.latent)
    yield ShapeRow(
        "latent",
        times(channels, latents, height, wide),
        f"channels, frames, height, width: {own.scale}×{own.scale} pixels and {spec.frames_per_latent} frames a site, "
        f"the first frame by itself; {shares:.3g} times fewer numbers than pixels hold",
    )
    grid = tuple(side // p for side, p in zip((latents, height, wide), own.patch, strict=True))
    tokens, text = math.prod(grid), own.reading.length
    yield ShapeRow(
        "video tokens",
        f"{times(*grid)} = {tokens}",
        f"a patch of {times(*own.patch)} latent sites (frames first) is one",
    )
    yield ShapeRow(
        "text tokens", f"{text}" if width is None else times(text, width), text_note(own.reading, own_tokens)
    )
    network = backbone.components.transformer
    modules = own.attention(network)
    first: Any = modules[0]
    heads, inner = int(first.heads), int(first.to_q.out_features)
    yield ShapeRow(
        "blocks", f"{len(modules)} of {heads}×{inner // heads}", "attention that sees text: heads, width of a head"
    )
    if own.text_queries:
        both = text + tokens
        yield ShapeRow("attention of a block", f"{heads}×{times(both, both)}", "text and video in one sequence")
    else:
        yield ShapeRow("attention to the text", f"{heads}×{times(tokens, text)}", "video asks, text answers")
        yield ShapeRow("attention of the video", f"{heads}×{times(tokens, tokens)}", "in a module of its own")
    yield ShapeRow("velocity", times(channels, latents, height, wide), "u = ε − x, of the latent's shape")


def text_note(reading: Reading, own_tokens: int | None) -> str:
    """Who reads a prompt, and what becomes of its padding; `own_tokens` are the prompt's, None without one."""
    beside = "".join(f"; {reader(each)} reads the prompt too" for each in reading.others)
    template = f"; {reading.skipped} more, of its template, are left out" if reading.skipped else ""
    said = (
        "a prompt is padded to so many" if own_tokens is None else f"{own_tokens} are the prompt's, the others padding"
    )
    return f"of {reader(reading)}{template}{beside}; {said}, {PADDING[reading.padding]}"


def reader(reading: Reading) -> str:
    """What its encoder is called: T5, UMT5, CLIP, Llama."""
    return re.sub(r"(Encoder|Text)?Model(WithProjection)?$", "", reading.encoder.__name__)
