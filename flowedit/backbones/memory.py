"""What an edit needs of a device's memory, by phase, from a checkpoint's configuration alone; nothing here needs torch.

    phases(network, latent, rows=2) -> {"text": {...}, "encode": {...}, "edit": {...}, "decode": {...}}, in GiB

The transformer's and the text encoder's terms were found by reading diffusers' blocks and hold to within a few per cent
of what is counted (tests/backbones/test_memory.py); those of the autoencoder are networks/autoencoder_memory.py.
What CUDA takes for itself and the gaps between tensors are not counted: `SPARE` and `GAPS` are for them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from flowedit.backbones.released import RELEASES, Config
from flowedit.machine import GIB
from flowedit.messages import InputError
from flowedit.networks import autoencoder_memory as autoencoder
from flowedit.pretrained import layout
from flowedit.types import Backbone

FLOAT = 4
"""Bytes of a float32, in which states are kept."""

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

WAN_TEXT = 512
"""Tokens of text that Wan was trained with; no file of its says so."""

CROSS = (6, 4)
"""Of Wan's attention to text: sizes of the block's input, and of the text, that it holds."""

STREAMED = {"transformer": 2, "text_encoder": 1}
"""Blocks that are on the device at once where blocks wait in the host's memory: one at work, and of one the next."""


@dataclass(frozen=True)
class Blueprint:
    """A checkpoint as its files draw it: `config.json` of three components, and the bytes of a saved weight."""

    pipeline: str
    transformer: Config
    vae: Config
    text_encoder: Config
    saved: int = 2
    """Bytes of a number of the transformer's weights, as they are saved."""
    transformers: int = 1
    """Two of a model that has another one for small times."""

    @property
    def wan(self) -> bool:
        """Whether it is a Wan; else it is a CogVideoX."""
        return self.pipeline.startswith("Wan")

    @property
    def width(self) -> int:
        """Numbers of a token in the transformer."""
        return int(self.transformer["num_attention_heads"]) * int(self.transformer["attention_head_dim"])

    @property
    def patch(self) -> tuple[int, int, int]:
        """(frames, height, width) of the latent sites that a token holds."""
        size = self.transformer["patch_size"]
        if self.wan:
            return int(size[0]), int(size[1]), int(size[2])
        return (self.transformer.get("patch_size_t") or 1, size, size)

    @property
    def scale(self) -> int:
        """Pixels a side of a latent site."""
        return (
            int(self.vae.get("scale_factor_spatial", 8)) if self.wan else 2 ** (len(self.vae["block_out_channels"]) - 1)
        )

    @property
    def text_tokens(self) -> int:
        """Tokens of a prompt, padding included."""
        return WAN_TEXT if self.wan else int(self.transformer.get("max_text_seq_length", 226))

    def tokens(self, latent: tuple[int, int, int, int]) -> int:
        """Tokens of the video, of a latent (C, F, H, W)."""
        frames, height, width = (side // p for side, p in zip(latent[1:], self.patch, strict=True))
        return frames * height * width


def released(name: str) -> Blueprint | None:
    """A released checkpoint by its name in conf/backbone, from the words of its own files; None for any other name."""
    if (release := RELEASES.get(name)) is None:
        return None
    transformer, saved = release.transformer, FLOAT if release.transformer.saved == "float32" else 2
    count = 1 if release.second is None else 2
    return Blueprint(
        release.pipeline, transformer.config, release.vae.config, release.text_encoder.config, saved, count
    )


def of_backbone(backbone: Backbone) -> Blueprint | None:
    """That of a backbone that is there, from its folder; None where it says no folder, or nothing of what is needed."""
    try:
        return of_folder(Path(backbone.describe()["folder"]))
    except (KeyError, InputError, OSError):
        return None


def of_folder(folder: Path) -> Blueprint | None:
    """A checkpoint folder, from its configurations; None for a pipeline that is neither a CogVideoX nor a Wan.

    Raises InputError for files that are not there, or say nothing of what is needed.
    """
    pipeline = str(layout.read_json(folder / "model_index.json").get("_class_name", ""))
    if not pipeline.startswith(("CogVideoX", "Wan")):
        return None
    transformer, vae, text = (
        layout.read_json(folder / part / "config.json") for part in ("transformer", "vae", "text_encoder")
    )
    count = sum(part.startswith("transformer") for part in layout.components(folder))
    network = Blueprint(pipeline, transformer, vae, text, transformers=max(1, count))
    try:
        rest, block, count = parameters(network, "transformer")
        autoencoder.weights(network.vae)
        parameters(network, "text_encoder")
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise InputError(
            f"backbone {str(folder)!r}: a config.json lacks what its memory follows from ({error})"
        ) from error
    found = layout.weights(folder / "transformer")
    size = sum(path.stat().st_size for path in found.files) if found else 0
    return replace(network, saved=FLOAT if size > 3 * (rest + block * count) else 2)


def precisions(network: Blueprint, dtype: str, cpu: bool) -> tuple[int, int, int]:
    """Bytes of a number of transformer, autoencoder and text encoder, for a `runtime.dtype`, as they are loaded.

    Wan runs in bfloat16 whatever its files hold, its autoencoder in float32. T5 takes bfloat16 for float16.
    """
    if dtype == "auto":
        own = FLOAT if cpu else 2 if network.wan else network.saved
    else:
        own = FLOAT if dtype == "float32" else 2
    return own, FLOAT if network.wan else own, own


def phases(
    network: Blueprint,
    latent: tuple[int, int, int, int],
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
    all_stay = cpu or offload == "none"
    held = {
        "transformer": _held(network, "transformer", own, weights, offload) * (network.transformers if all_stay else 1),
        "autoencoder": autoencoder.weights(network.vae) * of_vae,
        "text encoder": _held(network, "text_encoder", of_text, text_weights, offload) if text_here else 0.0,
    }
    activations = {
        "text": _text(network.text_encoder, network.text_tokens, of_text) if text_here else {},
        "encode": {"tile": _tile(network, latent, False, tiling) * of_vae},
        "edit": _edit(network, latent, rows, draws, own, weights, objects, taken),
        "decode": {"tile": _tile(network, latent, True, tiling) * of_vae},
    }
    kept = {
        "encode": ("autoencoder",),
        "text": ("text encoder", "autoencoder"),
        "edit": ("transformer", "autoencoder", *(() if cpu else ("text encoder",))),
        "decode": ("autoencoder", "transformer", *(() if cpu else ("text encoder",))),
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


def parameters(network: Blueprint, component: str) -> tuple[float, float, int]:
    """Numbers in the weights of "transformer" or "text_encoder": beside its blocks, in one block, and the blocks."""
    if component == "text_encoder":
        return _text_parameters(network.text_encoder, str(network.text_encoder.get("model_type", "t5")) == "umt5")
    return _wan_parameters(network) if network.wan else _cogvideox_parameters(network)


def _held(network: Blueprint, component: str, itemsize: int, weights: str, offload: str) -> float:
    """Bytes of a network's weights on the device."""
    rest, block, count = parameters(network, component)
    stored = itemsize if weights == "saved" else 1
    return rest * itemsize + block * stored * (min(count, STREAMED[component]) if offload == "blocks" else count)


def _cogvideox_parameters(network: Blueprint) -> tuple[float, float, int]:
    config, d = network.transformer, network.width
    time, patch_t, p = config["time_embed_dim"], config.get("patch_size_t"), config["patch_size"]
    sites = p * p * (patch_t or 1)
    affine = 2 * d if config.get("norm_elementwise_affine", True) else 0
    block = 2 * (6 * d * (time + 1) + affine) + 4 * d * d + 4 * d + 8 * d * d + 5 * d
    block += 4 * config["attention_head_dim"] - (0 if config.get("attention_bias", True) else 3 * d)
    rest = config["in_channels"] * sites * d + d * (config.get("patch_bias", True) or bool(patch_t))
    rest += (config["text_embed_dim"] + 1) * d + (d + 1) * time + (time + 1) * time
    rest += affine + (time + 1) * 2 * d + affine + (d + 1) * sites * config["out_channels"]
    return rest, block, config["num_layers"]


def _wan_parameters(network: Blueprint) -> tuple[float, float, int]:
    config, d = network.transformer, network.width
    ff, sites = config["ffn_dim"], network.patch[0] * network.patch[1] * network.patch[2]
    attention = 4 * d * d + 4 * d + 2 * d
    block = 2 * attention + 2 * d * ff + ff + d + 6 * d + (2 * d if config.get("cross_attn_norm", True) else 0)
    rest = config["in_channels"] * sites * d + d + (config["freq_dim"] + 1) * d + (d + 1) * d + (d + 1) * 6 * d
    rest += (config["text_dim"] + 1) * d + (d + 1) * d + 2 * d + (d + 1) * sites * config["out_channels"]
    return rest, block, config["num_layers"]


def _text_parameters(config: Config, own_bias: bool) -> tuple[float, float, int]:
    d, ff, inner = config["d_model"], config["d_ff"], config["num_heads"] * config["d_kv"]
    bias = config.get("relative_attention_num_buckets", 32) * config["num_heads"]
    gated = config.get("feed_forward_proj", "relu").startswith("gated")
    block = 4 * d * inner + (3 if gated else 2) * d * ff + 2 * d + (bias if own_bias else 0)
    return config["vocab_size"] * d + d + (0 if own_bias else bias), block, config["num_layers"]


def _text(config: Config, tokens: int, itemsize: int) -> dict[str, float]:
    """Scores of one layer's attention, twice, in float32; and its widest activations."""
    scores = 2 * config["num_heads"] * tokens**2 * FLOAT
    return {"attention": scores, "layer": 2 * tokens * config["d_ff"] * itemsize}


def _edit(
    network: Blueprint,
    latent: tuple[int, int, int, int],
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
    config, d, tokens = network.transformer, network.width, network.tokens(latent)
    text, heads = network.text_tokens, config["num_attention_heads"]
    seen = tokens if network.wan else tokens + text
    numbers = _wan_block(network, itemsize) if network.wan else _cogvideox_block(network, itemsize)
    state = FLOAT * latent[0] * latent[1] * latent[2] * latent[3]
    widest = d * (config["ffn_dim"] if network.wan else 4 * d)
    keys = rows * heads * RECORDED * (config["attention_head_dim"] + 2)
    return {
        "block": max(numbers * seen, CROSS[0] * tokens + CROSS[1] * text if network.wan else 0) * rows * d * itemsize,
        "prompt": rows * text * (config["text_dim"] + d if network.wan else 2 * config["text_embed_dim"]) * itemsize,
        "attention": rows * heads * seen * FLOAT,
        "places": _places(network, tokens),
        "recorder": (keys + objects * state / FLOAT / latent[0]) * FLOAT if objects else 0.0,
        "control": (taken * config["num_layers"] + 3 * rows) * seen * d * itemsize if taken else 0.0,
        "latents": (STATES + STATES_OF_DRAW * draws) * state,
        "cast": 0.0 if weights == "saved" else widest * itemsize,
    }


def _cogvideox_block(network: Blueprint, itemsize: int) -> float:
    """What a block holds at its widest, in sizes of its input: its feed-forward, or the turn of its keys in float32.

    Feed-forward: input, state, its norm and the attention's output, and twice four times the width. Turn: input, norm,
    text and video joined, q, k and v, and of the keys a turned copy and three of it in float32.
    """
    turn = 7 + 3 * FLOAT / itemsize if itemsize < FLOAT else 10.0
    return max(12.0, turn) if network.transformer.get("use_rotary_positional_embeddings") else 12.0


def _wan_block(network: Blueprint, itemsize: int) -> float:
    """The same of Wan: its feed-forward of a width of its own, or the sum after it in float32."""
    wide = 4 + 2 * network.transformer["ffn_dim"] / network.width
    return max(wide, 5 + 3 * FLOAT / itemsize if itemsize < FLOAT else 7.5)


def _places(network: Blueprint, tokens: int) -> float:
    """Bytes of the tables of places: rotary ones, or sincos ones in float64 for the size that it was trained at."""
    config = network.transformer
    if network.wan or config.get("use_rotary_positional_embeddings"):
        return 2 * tokens * config["attention_head_dim"] * FLOAT
    frames = 1 + (config["sample_frames"] - 1) // config.get("temporal_compression_ratio", 4)
    own = frames * (config["sample_height"] // config["patch_size"]) * (config["sample_width"] // config["patch_size"])
    return (network.text_tokens + own) * network.width * 8


def _tile(network: Blueprint, latent: tuple[int, int, int, int], decode: bool, tiling: bool) -> float:
    """Numbers alive while one tile of a clip goes through the autoencoder."""
    vae, frames = network.vae, latent[1] - (network.patch[0] - 1 if not network.wan else 0)
    scale = network.scale
    height, width = latent[2:] if not tiling else tile(network, (latent[2], latent[3]), decode)
    if decode:
        chunks = (1, int(frames > 1)) if network.wan else _first_and_later(frames, 2)
        return autoencoder.peak(vae, True, chunks, (height, width))
    count = 1 + (frames - 1) * 4
    chunks = (1, 4 if count > 1 else 0) if network.wan else _first_and_later(count, 8)
    return autoencoder.peak(vae, False, chunks, (height * scale, width * scale))


def tile(network: Blueprint, size: tuple[int, int], decode: bool) -> tuple[int, int]:
    """(height, width) of the latent of the autoencoder's own tiles, or of the whole where one tile holds it."""
    vae = network.vae
    if network.wan:
        side = 256 * (1 if decode else vae.get("patch_size") or 1) // network.scale
        own = (side, side)
    else:
        pixels = (vae.get("sample_height", 480) // 2, vae.get("sample_width", 720) // 2)
        own = (int(pixels[0] / network.scale), int(pixels[1] / network.scale))
        for i, overlap in enumerate((1 / 6, 1 / 5)):
            keep = own[i] - int(own[i] * overlap), pixels[i] - int(pixels[i] * overlap)
            if (
                int(pixels[i] * (1 - overlap)) * own[i] != keep[0] * pixels[i]
                or int(own[i] * (1 - overlap)) * pixels[i] != keep[1] * own[i]
            ):
                return size  # its tiles would not join, see cogvideox.py
    return size if size[0] <= own[0] and size[1] <= own[1] else (min(size[0], own[0]), min(size[1], own[1]))


def _first_and_later(count: int, chunk: int) -> tuple[int, int]:
    """Frames of the first chunk, which takes the remainder too, and of a later one, 0 for none."""
    return (count, 0) if count < 2 * chunk else (chunk + count % chunk, chunk)


def of_host() -> tuple[float | None, float | None]:
    """GiB of the host's memory, free and in all; None where the system, which is no Linux, does not tell."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        told = {key: float(rest.split()[0]) * 1024 / GIB for key, _, rest in (line.partition(":") for line in lines)}
        return told["MemAvailable"], told["MemTotal"]
    except (OSError, KeyError, ValueError, IndexError):
        return None, None
