"""The shapes that are measured: releases at their own sizes, and cut ones that a CPU runs in minutes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from flowedit.backbones import memory
from flowedit.backbones.released import save_released
from flowedit.backbones.shapes import of_blueprint
from flowedit.media.writer import Writer
from flowedit.messages import InputError

PROMPTS = {"source": "a fox runs over green grass", "target": "a panda runs over green grass"}
WORDS = {"source_words": "fox", "target_words": "panda"}


@dataclass(frozen=True)
class SpeedShape:
    """A release, how it is cut, and the clip: `frames` of (height, width) at the model's own rate."""

    release: str
    frames: int
    size: tuple[int, int]
    device: str
    """Where it is meant to run: cpu or cuda."""
    steps: int
    """Steps of the grid, of which strength 0.8 runs four in five."""
    changes: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: MappingProxyType({}))
    """To a component's configuration, by its folder; none for a release at its real size."""

    @property
    def about(self) -> str:
        """In one line."""
        cut = ", ".join(f"{key} {value}" for key, value in self.changes.get("transformer", {}).items())
        return f"{self.release}, {f'cut to {cut}' if cut else 'whole'}"


HEADS = {"num_attention_heads": 6, "attention_head_dim": 64, "num_layers": 3}
WAN_HEADS = {"num_attention_heads": 3, "attention_head_dim": 128, "num_layers": 3, "ffn_dim": 1536}

SHAPES: dict[str, SpeedShape] = {
    "cpu-2k": SpeedShape("cogvideox-2b", 49, (192, 256), "cpu", 5, {"transformer": HEADS}),
    "cpu-4k": SpeedShape("cogvideox-5b", 49, (256, 320), "cpu", 5, {"transformer": HEADS}),
    "cpu-wan": SpeedShape("wan2.1-t2v-1.3b", 49, (192, 256), "cpu", 5, {"transformer": WAN_HEADS}),
    "cogvideox-2b": SpeedShape("cogvideox-2b", 49, (480, 720), "cuda", 50),
    "cogvideox-5b": SpeedShape("cogvideox-5b", 49, (480, 720), "cuda", 50),
    "wan2.1-t2v-1.3b": SpeedShape("wan2.1-t2v-1.3b", 81, (480, 832), "cuda", 50),
}
"""By the names that scripts/benchmark.py takes."""


def shape_of(name: str) -> SpeedShape:
    """The shape of that name; raises InputError for an unknown one."""
    if name not in SHAPES:
        raise InputError(f"shape {name!r} is not one of {', '.join(SHAPES)}")
    return SHAPES[name]


def save_network(folder: Path, shape: SpeedShape) -> Path:
    """The checkpoint of a shape, with random weights; its text encoder has one layer, as an edit runs it once."""
    return save_released(folder, shape.release, small=bool(shape.changes), text_layers=1, changes=shape.changes)


def save_clip(path: Path, shape: SpeedShape) -> Path:
    """A clip of the shape: a bright square that moves over a gradient."""
    height, width = shape.size
    drawn = memory.released(shape.release)
    assert drawn is not None
    rate = Fraction(of_blueprint(drawn, {}).fps)
    ground = np.linspace(40, 160, width, dtype=np.float32)[None, :, None].repeat(height, 0).repeat(3, 2)
    with Writer(path, shape.size, rate) as writer:
        for place in range(shape.frames):
            frame, left = ground.astype(np.uint8), place * width // (2 * shape.frames)
            frame[height // 3 : 2 * height // 3, left : left + width // 4] = (220, 120, 40)
            writer.write(frame[None])
    return path
