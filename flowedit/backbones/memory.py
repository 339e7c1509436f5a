"""What an edit needs of a device's memory, by phase, from a checkpoint's configuration alone; nothing here needs torch.

    phases(network, latent, rows=2) -> {"text": {...}, "encode": {...}, "edit": {...}, "decode": {...}}, in GiB

What a family has of its own are the terms of its sheet. They were found by reading diffusers' blocks and hold to within
a few per cent of what is counted (tests/backbones/test_memory.py).
What CUDA takes for itself and the gaps between tensors are not counted: `SPARE` and `GAPS` are for them.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from flowedit.backbones.released import RELEASES
from flowedit.backbones.sheet import FLOAT, Blueprint, Latent, sheet_of
from flowedit.machine import GIB
from flowedit.messages import InputError
from flowedit.pretrained import layout
from flowedit.types import Backbone

SPARE = 1.0
"""GiB that CUDA takes for itself, at most."""

GAPS = 1.1
"""What the allocator holds over what tensors do, by the gaps between them."""

STATES = 8
"""Latents of the clip that an edit holds in float32: the source, the state, velocities, the mask's."""

STATES_OF_DRAW = 4
"""And of each noise that is drawn."""

RECORDED = 1024
"""Queries whose attention is read at a time."""

STREAMED = (2, 1)
"""Blocks of the denoiser, and of a text encoder, that are on the device at once where blocks wait in the host's memory:
one at work, and of the denoiser the next."""


def released(name: str) -> Blueprint | None:
    """A released checkpoint by its name in conf/backbone, from the words of its own files; None for any other name."""
    if (release := RELEASES.get(name)) is None:
        return None
    if (sheet := sheet_of(release.pipeline)) is None:
        return None
    parts, own = release.parts, sheet.denoiser.folder
    drawn = {folder: parts[folder].config for folder in (own, "vae", *sheet.encoders)}
    saved = FLOAT if parts[own].saved == "float32" else 2
    return Blueprint(release.pipeline, drawn, saved, sum(folder.startswith(own) for folder in parts))


def of_backbone(backbone: Backbone) -> Blueprint | None:
    """That of a backbone that is there, from its folder; None where it says no folder, or nothing of what is needed."""
    try:
        return of_folder(Path(backbone.describe()["folder"]))
    except (KeyError, InputError, OSError):
        return None


def of_folder(folder: Path) -> Blueprint | None:
    """A checkpoint folder, from its configurations; None for a pipeline that no family's sheet describes.

    Raises InputError for files that are not there, or say nothing of what is needed.
    """
    pipeline = str(layout.read_json(folder / "model_index.json").get("_class_name", ""))
    if (sheet := sheet_of(pipeline)) is None:
        return None
    own = sheet.denoiser.folder
    parts = {part: layout.read_json(folder / part / "config.json") for part in (own, "vae", *sheet.encoders)}
    denoisers = sum(part.startswith(own) for part in layout.components(folder))
    network = Blueprint(pipeline, parts, denoisers=max(1, denoisers))
    try:
        rest, block, blocks = parameters(network, own)
        sheet.autoencoder.weights(network.vae)
        for encoder in sheet.encoders:
            parameters(network, encoder)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise InputError(
            f"backbone {str(folder)!r}: a config.json lacks what its memory follows from ({error})"
        ) from error
    found = layout.weights(folder / own)
    size = sum(path.stat().st_size for path in found.files) if found else 0
    return replace(network, saved=FLOAT if size > 3 * (rest + block * blocks) else 2)


def precisions(network: Blueprint, dtype: str, cpu: bool) -> tuple[int, int, int]:
    """Bytes of a number of denoiser, autoencoder and text encoders, for a `runtime.dtype`, as they are loaded.

    T5 takes bfloat16 for float16.
    """
    sheet = network.sheet
    auto = FLOAT if cpu else sheet.itemsize or network.saved
    own = {"auto": auto, "float32": FLOAT}.get(dtype, 2)
    return own, sheet.autoencoder.itemsize or own, own


def phases(
    network: Blueprint,
    latent: Latent,
    *,
    rows: int = 2,
    draws: int = 1,
    precision: tuple[int, int, int] = (2, 2, 2),
    offload: str = "parts",
    weights: str = "saved",
    text_weights: str = "saved",
    tiling: bool = True,
    objects: int = 1,
    taken: float = 0.0,
    text_here: bool = True,
    cpu: bool = False,
) -> dict[str, dict[str, float]]:
    """GiB that live tensors hold at most in each phase of an edit, by what holds them; a phase needs their sum.

    `latent` (C, F, H, W) is what the network sees at once, a window of it; `rows` are the batch rows of one network
    call; `precision` is what `precisions` gives. `offload`: none (all networks stay), parts (one at a time is here),
    blocks (all blocks of it but those at work wait too). `weights`: saved, fp8 or int8; `text_weights`: saved or int8.
    `objects` are those whose attention is read, 0 for none; `taken` is that of `Load`. `text_here`: false where the
    text encoder is not counted. `cpu`: what is read stays, but for the text encoder.
    """
    own, of_vae, of_text = precision
    sheet, all_stay = network.sheet, cpu or offload == "none"
    encoders, denoiser = sheet.encoders if text_here else {}, sheet.denoiser.folder
    read = [_held(network, encoder, of_text, text_weights, offload) for encoder in encoders]
    held = {
        denoiser: _held(network, denoiser, own, weights, offload) * (network.denoisers if all_stay else 1),
        "autoencoder": sheet.autoencoder.weights(network.vae) * of_vae,
        "text encoder": sum(read) if all_stay else max(read, default=0.0),  # one is there at a time
    }
    if offload == "blocks" and sheet.denoiser.beside is not None:
        stored = own if weights == "saved" else 1
        blocks = sheet.denoiser.beside(network, latent, rows * own / stored)
        held[denoiser] = parameters(network, denoiser)[0] * own + blocks * stored
    activations = {
        "text": _text(network, of_text) if text_here else {},
        "encode": {"tile": _tile(network, latent, False, tiling) * of_vae},
        "edit": _edit(network, latent, rows, draws, own, weights, objects, taken),
        "decode": {"tile": _tile(network, latent, True, tiling) * of_vae},
    }
    kept = {
        "encode": ("autoencoder",),
        "text": ("text encoder", "autoencoder"),
        "edit": (denoiser, "autoencoder", *(() if cpu else ("text encoder",))),
        "decode": ("autoencoder", denoiser, *(() if cpu else ("text encoder",))),
    }
    found = {}
    for phase, parts in kept.items():
        weighed = {part: held[part] for part in (parts if all_stay else parts[:1])}
        found[phase] = {name: size / GIB for name, size in {**weighed, **activations[phase]}.items()}
    return found


def totals(found: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """GiB of each phase."""
    return {phase: sum(parts.values()) for phase, parts in found.items()}


def must_be_free(most: float) -> float:
    """GiB that must be free for a phase that holds so many: beside it the gaps between tensors, and CUDA's own.

    On a CPU it is torch that takes the rest.
    """
    return most * GAPS + SPARE


def parameters(network: Blueprint, component: str) -> tuple[float, float, float]:
    """Numbers in the weights of the denoiser or a text encoder: beside its blocks, in one block, and the blocks."""
    sheet = network.sheet
    if component in sheet.encoders:
        return sheet.encoders[component].parameters(network.parts[component])
    return sheet.denoiser.parameters(network)


def _held(network: Blueprint, component: str, itemsize: int, weights: str, offload: str) -> float:
    """Bytes of a network's weights on the device."""
    rest, block, count = parameters(network, component)
    stored, encoders = itemsize if weights == "saved" else 1, network.sheet.encoders
    if offload == "blocks" and (component not in encoders or encoders[component].streams):
        count = min(count, STREAMED[component in encoders])
    return rest * itemsize + block * stored * count


def _text(network: Blueprint, itemsize: int) -> dict[str, float]:
    """What a call of a text encoder holds; of several, which are called one after the other, the most of each."""
    sheet, found = network.sheet, dict[str, float]()
    for folder, terms in sheet.encoders.items():
        tokens = sheet.reads.get(folder, network.text_tokens)
        for what, size in terms.held(network.parts[folder], tokens, itemsize).items():
            found[what] = max(size, found.get(what, 0.0))
    return found


def _edit(
    network: Blueprint,
    latent: Latent,
    rows: int,
    draws: int,
    itemsize: int,
    weights: str,
    objects: int,
    taken: float,
) -> dict[str, float]:
    """One network call of so many rows: what a block holds, its tables of places, the recorder's, and the states.

    A control of attention holds what is taken of the source, and mixes the target's queries, keys and values.
    """
    terms, (heads, head) = network.sheet.denoiser, network.heads
    seen = terms.seen(network, latent)
    state = FLOAT * latent[0] * latent[1] * latent[2] * latent[3]
    keys = rows * heads * RECORDED * (head + 2)
    return {
        "block": terms.block(network, latent, itemsize) * rows * itemsize,
        "prompt": rows * network.text_tokens * terms.prompt(network) * itemsize,
        "attention": rows * heads * seen * FLOAT,
        "places": terms.places(network, latent),
        "recorder": (keys + objects * state / FLOAT / latent[0]) * FLOAT if objects else 0.0,
        "control": (taken * network.layers + 3 * rows) * seen * network.width * itemsize if taken else 0.0,
        "latents": (STATES + STATES_OF_DRAW * draws) * state,
        "cast": 0.0 if weights == "saved" else terms.widest(network) * itemsize,
    }


def _tile(network: Blueprint, latent: Latent, decode: bool, tiling: bool) -> float:
    """Numbers alive while one tile of a clip goes through the autoencoder."""
    terms, size = network.sheet.autoencoder, (latent[2], latent[3])
    height, width = terms.tile(network.vae, size, decode) if tiling else size
    side = 1 if decode else network.scale
    return terms.peak(network.vae, decode, terms.chunks(network, latent[1], decode), (height * side, width * side))


def of_host() -> tuple[float | None, float | None]:
    """GiB of the host's memory, free and in all; None where the system, which is no Linux, does not tell."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        told = {key: float(rest.split()[0]) * 1024 / GIB for key, _, rest in (line.partition(":") for line in lines)}
        return told["MemAvailable"], told["MemTotal"]
    except (OSError, KeyError, ValueError, IndexError):
        return None, None
