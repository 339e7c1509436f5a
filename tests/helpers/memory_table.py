"""Counts the GPU memory of each phase of an edit, by released checkpoint, and writes the table of backbones/README.md.

    python tests/helpers/memory_table.py

It takes some minutes of one core. Nothing is downloaded, and no GPU is needed: see fake_gpu.py.
"""

import re
import tempfile
from pathlib import Path

import numpy as np
import torch
from fake_gpu import CUDA, DEFAULT, edit, fake_gpu, native, released

from flowedit.backbones.released import RELEASES
from flowedit.config.defaults import memory_presets
from flowedit.networks import placement

README = Path(__file__).parents[2] / "flowedit" / "backbones" / "README.md"
START, END = "<!-- memory: written by tests/helpers/memory_table.py -->", "<!-- end of memory -->"
PHASES = ("text", "encode", "edit", "edit, 1 row", "decode")
STREAMING = [preset for preset in memory_presets() if preset.offload == "blocks"]
STREAMED = ("text, streamed", *(f"edit, {preset.name}" for preset in STREAMING))
ALL = (*PHASES, *STREAMED)
GIB = 2**30


LAYERS = 3
"""All layers of a network are alike: beside its weights, three hold as much as all."""


def count(folder, name, tiles=None):
    """GiB that live tensors hold at most in each phase, at native size and length.

    Encoding and decoding go over the first chunks only, which are alike from the second on; with `tiles`, over so many
    tiles a side.
    """
    peaks = {}
    for phase, rows in (("edit", 0), ("edit, 1 row", 1)):
        with fake_gpu() as card:
            backbone = released(folder, name, rows=rows, layers=LAYERS)
            phases = edit(card, backbone, native(backbone), DEFAULT, steps=1)[2]
            cut, encoder = _held(backbone.components.transformer), _held(_reader(backbone))
        peaks[phase] = phases["edit"]["peak_memory_mib"] / 1024 - cut + weights(folder, name, "transformer")
    peaks["text"] = phases["embed"]["peak_memory_mib"] / 1024 - encoder + weights(folder, name, "encoder")
    with fake_gpu() as card:
        backbone = released(folder, name, layers=LAYERS)
        size = native(backbone).size if tiles is None else side(backbone, (tiles, tiles))
        frames = length(backbone, size)
        for phase in ("encode", "decode"):
            peaks[phase] = coded(card, backbone, phase, frames, size)
    return peaks


def count_presets(folder, name):
    """GiB that live tensors hold at most while prompts are read and in a step, by the presets that stream blocks.

    A block comes while another is at work, so that two of them are on the card, of three as of all.
    """
    peaks = {}
    for preset in STREAMING:
        with fake_gpu() as card:
            backbone = released(folder, name, rows=preset.rows, offload=preset.offload, layers=LAYERS)
            phases = edit(card, backbone, native(backbone), DEFAULT, steps=1)[2]
        peaks["text, streamed"] = phases["embed"]["peak_memory_mib"] / 1024
        with fake_gpu():
            reader = _reader(backbone)
        if placement.stack(reader) is None:  # it is there whole
            peaks["text, streamed"] += weights(folder, name, "encoder") - _held(reader)
        peaks[f"edit, {preset.name}"] = phases["edit"]["peak_memory_mib"] / 1024
    return peaks


def length(backbone, size):
    """Frames of which the chunks are alike from the second on, or all where an autoencoder takes them at once."""
    own, vae = backbone.architecture, backbone.components.vae
    if len(own.encoder(vae, backbone.spec.trained_frames, size).chunks) == 1:
        return backbone.spec.trained_frames
    return next(n for n in range(1, 999, own.frame_step) if len(own.encoder(vae, n, size).chunks) > 2)


def side(backbone, tiles):
    """(height, width) in pixels that so many tiles cover, the first of them whole."""
    vae = backbone.components.vae
    stream = backbone.architecture.encoder(vae, 1, (4096, 4096))
    shapes = zip(tiles, stream.tiles.size, stream.tiles.stride, strict=True)
    return tuple(max(size, (n - 1) * stride + 16) for n, size, stride in shapes)


def coded(card, backbone, phase, frames, size):
    """GiB at most of encoding or decoding so many frames of a size."""
    backbone.components.place(backbone.components.vae)
    card.peak = card.live
    scale = backbone.architecture.scale
    if phase == "encode":
        backbone.encode(np.zeros((frames, *size, 3), np.uint8))
    else:
        latents = 1 + (frames - 1) // backbone.spec.frames_per_latent + backbone.spec.leading_latents
        channels = backbone.architecture.channels
        list(backbone.decode(torch.zeros(1, channels, latents, *(each // scale for each in size))))
    return card.peak / GIB


def beside_diffusers(folder, name, phase, tiles, frames):
    """GiB at most of one phase over so many tiles, ours and diffusers' own tiled way."""
    with fake_gpu() as card:
        backbone = released(folder, name, layers=1)
        size, vae = side(backbone, tiles), backbone.components.place(backbone.components.vae)
        ours = coded(card, backbone, phase, frames, size)
        card.peak = card.live
        if phase == "encode":
            vae.encode(torch.zeros(1, 3, frames, *size, device=CUDA, dtype=vae.dtype))
        else:
            latent = (1 + (frames - 1) // 4, *(each // backbone.architecture.scale for each in size))
            vae.decode(torch.zeros(1, backbone.architecture.channels, *latent, device=CUDA, dtype=vae.dtype))
        return ours, card.peak / GIB


def weights(folder, name, component):
    """GiB of a network's weights in the precision that it loads in."""
    with fake_gpu():
        held = released(folder, name)
        return _held(_reader(held) if component == "encoder" else getattr(held.components, component))


def _reader(backbone):
    """The largest text encoder; of several one at a time is on the card."""
    return max((backbone.components.encoder(each.folder) for each in backbone.text.reading.all), key=_held)


def _held(network):
    return sum(each.numel() * each.element_size() for each in network.parameters()) / GIB


def read():
    """The table's figures, by checkpoint and phase."""
    text = README.read_text(encoding="utf-8").partition(START)[2].partition(END)[0]
    rows = re.findall(r"^\| `(.+?)` .*?" + r"\| ([\d.]+) " * len(ALL) + r"\|$", text, re.M)
    return {name: dict(zip(ALL, map(float, figures), strict=True)) for name, *figures in rows}


def write():
    lines = [
        "| GiB, counted | native size, frames | " + " | ".join(ALL) + " |",
        "|---|---|" + "---|" * len(ALL),
    ]
    for name in RELEASES:
        with tempfile.TemporaryDirectory() as folder:
            peaks = count(Path(folder), name) | count_presets(Path(folder), name)
            with fake_gpu():
                shape = native(released(Path(folder), name))
        size = f"{shape.size[1]}×{shape.size[0]}, {shape.frames}"
        lines.append(f"| `{name}` | {size} | " + " | ".join(f"{peaks[phase]:.2f}" for phase in ALL) + " |")
        print(lines[-1], flush=True)
    before, _, rest = README.read_text(encoding="utf-8").partition(START)
    README.write_text(f"{before}{START}\n" + "\n".join(lines) + f"\n{END}{rest.partition(END)[2]}", encoding="utf-8")


if __name__ == "__main__":
    write()
