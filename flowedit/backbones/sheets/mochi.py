"""Mochi 1: the words of its released files, small random ones, shapes, memory and work."""

from math import prod
from typing import Any

from flowedit.backbones.coders.memory import mochi as coder
from flowedit.backbones.encoders import t5
from flowedit.backbones.sheet import (
    FLOAT,
    SHEETS,
    STRENGTH_SHIFT,
    AutoencoderTerms,
    Blueprint,
    Config,
    DenoiserTerms,
    Latent,
    Recipe,
    Release,
    ReleasedPart,
    SampleSize,
    Sheet,
    Signs,
)
from flowedit.types import BackboneSpec

TRANSFORMER: Config = {
    "activation_fn": "swiglu", "attention_head_dim": 128, "in_channels": 12, "max_sequence_length": 256,
    "num_attention_heads": 24, "num_layers": 48, "out_channels": None, "patch_size": 2, "pooled_projection_dim": 1536,
    "qk_norm": "rms_norm", "text_embed_dim": 4096, "time_embed_dim": 256,
}  # fmt: skip

VAE: Config = {
    "act_fn": "silu", "add_attention_block": [False, True, True, True, True],
    "decoder_block_out_channels": [128, 256, 512, 768], "encoder_block_out_channels": [64, 128, 256, 384],
    "in_channels": 15, "latent_channels": 12,
    "latents_mean": [
        -0.06730895953510081, -0.038011381506090416, -0.07477820912866141, -0.05565264470995561, 0.012767231469026969,
        -0.04703542746246419, 0.043896967884726704, -0.09346305707025976, -0.09918314763016893, -0.008729793427399178,
        -0.011931556316503654, -0.0321993391887285,
    ],
    "latents_std": [
        0.9263795028493863, 0.9248894543193766, 0.9393059390890617, 0.959253732819592, 0.8244560132752793,
        0.917259975397747, 0.9294154431013696, 1.3720942357788521, 0.881393668867029, 0.9168315692124348,
        0.9185249279345552, 0.9274757570805041,
    ],
    "layers_per_block": [3, 3, 4, 6, 3], "out_channels": 3, "scaling_factor": 1.0, "spatial_expansions": [2, 2, 2],
    "temporal_expansions": [1, 2, 3],
}  # fmt: skip

SCHEDULE: Config = {
    "base_image_seq_len": 256, "base_shift": 0.5, "invert_sigmas": True, "max_image_seq_len": 4096, "max_shift": 1.15,
    "num_train_timesteps": 1000, "shift": 1.0, "use_dynamic_shifting": False,
}  # fmt: skip

RELEASE = Release(
    "MochiPipeline", "0.32.0.dev0",
    {
        "transformer": ReleasedPart("MochiTransformer3DModel", TRANSFORMER, "float32", 5),
        "vae": ReleasedPart("AutoencoderKLMochi", VAE, "float32"),
        "text_encoder": t5.part("float32", 4),
    },
    ("FlowMatchEulerDiscreteScheduler", SCHEDULE), {"tokenizer": t5.TOKENIZER},
    {"force_zeros_for_empty_prompt": True},
)  # fmt: skip

SMALL: dict[str, Config] = {
    "MochiTransformer3DModel": {
        "attention_head_dim": 16, "num_attention_heads": 2, "num_layers": 2, "pooled_projection_dim": 16,
        "text_embed_dim": 32, "time_embed_dim": 32,
    },
    "AutoencoderKLMochi": {
        "decoder_block_out_channels": [32, 32, 32, 32], "encoder_block_out_channels": [32, 32, 32, 32],
        "layers_per_block": [1, 1, 1, 1, 1],
    },
    "T5EncoderModel": t5.SMALL,
}  # fmt: skip


# Small random checkpoints.


def _random(sample: SampleSize) -> Any:
    from diffusers import AutoencoderKLMochi, FlowMatchEulerDiscreteScheduler, MochiPipeline, MochiTransformer3DModel

    vae: Any = AutoencoderKLMochi(
        **SMALL["AutoencoderKLMochi"], latent_channels=4, latents_mean=[-0.2, 0.1, 0.3, -0.1],
        latents_std=[0.8, 1.2, 0.5, 1.5],
    )  # fmt: skip
    transformer: Any = MochiTransformer3DModel(
        **{**SMALL["MochiTransformer3DModel"], "in_channels": 4, "num_attention_heads": 4, "num_layers": 3}
    )
    transformer.pos_frequencies.data.normal_(0, 0.2)
    for block in transformer.transformer_blocks:
        block.attn1.norm_added_k.weight.data *= 4.0
    return MochiPipeline(
        tokenizer=t5.tokenizer(), text_encoder=t5.random_t5(), vae=vae.eval(), transformer=transformer.eval(),
        scheduler=FlowMatchEulerDiscreteScheduler(invert_sigmas=True), force_zeros_for_empty_prompt=True,
    )  # fmt: skip


def _notes(sample: SampleSize) -> dict[str, Any]:
    """What no file of a Mochi says."""
    return {"native_size": [8 * side for side in sample], "native_frames": 13}


# Shapes.

NATIVE, FRAMES, FPS = (480, 848), 163, 30
"""(height, width), length and rate of the clips that it makes; no file says so."""


def scale_of(vae: Config) -> int:
    """Pixels a side of a latent site."""
    return prod(vae.get("spatial_expansions", (2, 2, 2)))


def step_of(vae: Config) -> int:
    """Frames of a latent frame after the first."""
    return prod(vae.get("temporal_expansions", (1, 2, 3)))


def spec_of(config: Config, vae: Config, notes: Config) -> BackboneSpec:
    """The spec of a Mochi by its transformer and autoencoder; `notes` are of a small one of ours.

    Name, notices, shift and world are the caller's.
    """
    scale, step = scale_of(vae), step_of(vae)
    height, width = notes.get("native_size", NATIVE)
    return BackboneSpec(
        name="Mochi",
        notices=(),
        trained=True,
        trained_frames=int(notes.get("native_frames", FRAMES)),
        fps=FPS,
        latent_size=(height // scale, width // scale),
        native_area=height * width,
        multiple=scale * config["patch_size"],
        frames_per_latent=step,
        trained_step=step,
        strength_shift=STRENGTH_SHIFT,
    )


def _spec(drawn: Blueprint, notes: Config) -> BackboneSpec:
    return spec_of(drawn.denoiser, drawn.vae, notes)


# Memory and work.

WIDEST, TURNED = 10.0, 2
"""Sizes of its input that a block holds, and copies of the queries that are turned, in float32."""


def _patch(config: Config) -> tuple[int, int, int]:
    return 1, int(config["patch_size"]), int(config["patch_size"])


def _inner(width: int) -> int:
    """The width of a feed-forward."""
    return 4 * width * 2 // 3


def _parameters(drawn: Blueprint) -> tuple[float, float, float]:
    """The last block gives no text: what it lacks of the others is taken from what is beside them."""
    config, d, head = drawn.denoiser, drawn.width, drawn.heads[1]
    c, said, sites = config["pooled_projection_dim"], config["text_embed_dim"], config["patch_size"] ** 2
    block = (d + 1) * 4 * d + 4 * d * d + d + 3 * c * d + 4 * head + 3 * d * _inner(d)
    of_text = (d + 1) * 4 * c + d * c + c + 3 * c * _inner(c)
    channels = config.get("out_channels") or config["in_channels"]
    rest = config["in_channels"] * sites * d + d + (config["time_embed_dim"] + 1) * d + (d + 1) * d
    rest += 3 * said * said + 3 * said + (said + 1) * d + (said + 1) * c
    rest += 3 * d // 2 + (d + 1) * 2 * d + (d + 1) * sites * channels
    return rest - of_text + (d + 1) * c, block + of_text, config["num_layers"]


def _seen(drawn: Blueprint, latent: Latent) -> int:
    return drawn.tokens(latent) + drawn.text_tokens


def _block(drawn: Blueprint, latent: Latent, itemsize: int) -> float:
    return (WIDEST + TURNED * FLOAT / itemsize) * _seen(drawn, latent) * drawn.width


def _work(drawn: Blueprint, latent: Latent) -> float:
    """Of blocks of width D on N tokens of video, and T of text of width D', which attend together."""
    d, c, n = drawn.width, drawn.denoiser["pooled_projection_dim"], drawn.tokens(latent)
    both = n + drawn.text_tokens
    own = (8 * d * d + 6 * d * _inner(d)) * n + (8 * d * c + 6 * c * _inner(c)) * drawn.text_tokens
    return float(drawn.layers * (own + 4 * d * both * both))


def _places(drawn: Blueprint, latent: Latent) -> float:
    """Bytes of its rotary table: cosine and sine of half a head's width, for each head."""
    return drawn.tokens(latent) * drawn.width * FLOAT


def _tile(vae: Config, size: tuple[int, int], decode: bool) -> tuple[int, int]:
    own = 256 // scale_of(vae)
    return min(size[0], own), min(size[1], own)


CHUNK = 2
"""Latent frames that are decoded at a time."""


def _chunks(drawn: Blueprint, latents: int, decode: bool) -> tuple[int, int]:
    return (min(CHUNK, latents), 0) if decode else (1 + step_of(drawn.vae) * (latents - 1), 0)


SHEET = SHEETS.add(
    "mochi",
    Sheet(
        pipelines=("MochiPipeline",),
        signs=Signs(
            "Mochi",
            r"t5_yproj|pos_frequencies|transformer_blocks[._]\d+[._]attn1[._]add_",
            r"transformer_blocks[._]\d+[._](attn1|norm1|norm2|ff)[._]|blocks[._]\d+[._]attn[._]qkv_",
            {3072: "Mochi"},
        ),
        spec=_spec,
        denoiser=DenoiserTerms(
            patch=_patch,
            text_tokens=lambda config: int(config["max_sequence_length"]),
            parameters=_parameters,
            seen=_seen,
            block=_block,
            prompt=lambda drawn: 3 * int(drawn.denoiser["text_embed_dim"]),
            widest=lambda drawn: 2 * _inner(drawn.width) * drawn.width,
            work=_work,
            places=_places,
        ),
        autoencoder=AutoencoderTerms(
            scale=scale_of,
            weights=coder.MEMORY.weights,
            peak=coder.MEMORY.peak,
            tile=_tile,
            chunks=_chunks,
        ),
        encoders={"text_encoder": t5.TERMS},
        itemsize=2,  # whatever its files hold
        releases={"mochi-1": RELEASE},
        small=SMALL,
        recipes={"mochi": Recipe("Mochi 1", _random, _notes)},
    ),
)
