"""FLUX.1 dev and schnell: the words of their released files, small random ones, shapes, memory and work."""

from typing import Any

from flowedit.backbones.coders.memory import image as coder
from flowedit.backbones.encoders import clip, t5
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
    "attention_head_dim": 128, "guidance_embeds": True, "in_channels": 64, "joint_attention_dim": 4096,
    "num_attention_heads": 24, "num_layers": 19, "num_single_layers": 38, "patch_size": 1,
    "pooled_projection_dim": 768,
}  # fmt: skip

VAE: Config = {
    "act_fn": "silu", "block_out_channels": [128, 256, 512, 512], "down_block_types": ["DownEncoderBlock2D"] * 4,
    "force_upcast": True, "in_channels": 3, "latent_channels": 16, "latents_mean": None, "latents_std": None,
    "layers_per_block": 2, "mid_block_add_attention": True, "norm_num_groups": 32, "out_channels": 3,
    "sample_size": 1024, "scaling_factor": 0.3611, "shift_factor": 0.1159,
    "up_block_types": ["UpDecoderBlock2D"] * 4, "use_post_quant_conv": False, "use_quant_conv": False,
}  # fmt: skip

EULER: Config = {
    "base_image_seq_len": 256, "base_shift": 0.5, "max_image_seq_len": 4096, "max_shift": 1.15,
    "num_train_timesteps": 1000, "shift": 3.0, "use_dynamic_shifting": True,
}  # fmt: skip


def _release(transformer: Config, schedule: Config) -> Release:
    return Release(
        "FluxPipeline", "0.30.0.dev0",
        {
            "transformer": ReleasedPart("FluxTransformer2DModel", transformer, "bfloat16", 3),
            "vae": ReleasedPart("AutoencoderKL", VAE, "bfloat16"),
            "text_encoder_2": t5.part("bfloat16", 2),
            "text_encoder": clip.part("bfloat16"),
        },
        ("FlowMatchEulerDiscreteScheduler", schedule),
        {"tokenizer": clip.TOKENIZER, "tokenizer_2": t5.TOKENIZER},
    )  # fmt: skip


RELEASES = {
    "flux1-dev": _release(TRANSFORMER, EULER),
    "flux1-schnell": _release(
        {**TRANSFORMER, "guidance_embeds": False},
        {**EULER, "max_shift": 1.15, "shift": 1.0, "use_dynamic_shifting": False},
    ),
}

SMALL: dict[str, Config] = {
    "FluxTransformer2DModel": {
        "attention_head_dim": 16, "axes_dims_rope": [4, 6, 6], "joint_attention_dim": 32, "num_attention_heads": 2,
        "num_layers": 1, "num_single_layers": 1, "pooled_projection_dim": 32,
    },
    "AutoencoderKL": {"block_out_channels": [8, 8, 8, 8], "layers_per_block": 1, "norm_num_groups": 4},
    "T5EncoderModel": t5.SMALL,
    "CLIPTextModel": clip.SMALL,
}  # fmt: skip


# Small random checkpoints.


def _random(sample: SampleSize) -> Any:
    return _random_of(guidance=True, schedule={"use_dynamic_shifting": True, "shift": 3.0, "max_shift": 1.15})


def _random_schnell(sample: SampleSize) -> Any:
    return _random_of(guidance=False, schedule={"use_dynamic_shifting": False, "shift": 1.0})


def _random_of(guidance: bool, schedule: dict[str, Any]) -> Any:
    from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel

    vae: Any = AutoencoderKL(
        block_out_channels=(8, 8, 16, 16), down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4, layers_per_block=1, latent_channels=4, norm_num_groups=4,
        sample_size=64, scaling_factor=0.3611, shift_factor=0.1159, use_quant_conv=False, use_post_quant_conv=False,
    )  # fmt: skip
    transformer: Any = FluxTransformer2DModel(
        in_channels=16, num_layers=2, num_single_layers=2, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=32, pooled_projection_dim=32, guidance_embeds=guidance, axes_dims_rope=(4, 6, 6),
    )  # fmt: skip
    return FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(**schedule), vae=vae.eval(), text_encoder=clip.random_text(),
        tokenizer=clip.tokenizer(), text_encoder_2=t5.random_t5(), tokenizer_2=t5.tokenizer(),
        transformer=transformer.eval(),
    )  # fmt: skip


def _notes(sample: SampleSize) -> dict[str, Any]:
    """What FLUX's own files do not say."""
    return {"native_size": [8 * side for side in sample]}


# Shapes.

NATIVE = (1024, 1024)
"""(height, width) of the pictures that its own pipeline makes; no file says so. It was trained at areas around it."""

TOKENS = 4096
"""Those of such a picture."""

TEXT, SCHNELL_TEXT = 512, 256
"""Tokens of text for dev and for schnell, by the code that they were released with."""


def text_tokens(config: Config) -> int:
    """Tokens of a prompt, padding included, of a transformer."""
    return TEXT if config["guidance_embeds"] else SCHNELL_TEXT


def scale_of(vae: Config) -> int:
    """Pixels a side of a latent site."""
    return int(2 ** (len(vae["block_out_channels"]) - 1))


def spec_of(config: Config, vae: Config, notes: Config) -> BackboneSpec:
    """The spec of a FLUX.1 by its transformer and autoencoder; `notes` are of a small one of ours.

    Name, notices, shift and world are the caller's.
    """
    (height, width), scale = notes.get("native_size", NATIVE), scale_of(vae)
    return BackboneSpec(
        name="FLUX.1",
        notices=(),
        trained=True,
        trained_frames=1,
        fps=1,
        latent_size=(height // scale, width // scale),
        native_area=height * width,
        multiple=2 * scale,
        frames_per_latent=1,
        strength_shift=STRENGTH_SHIFT,
        max_latents=1,
        guidance="embedded" if config["guidance_embeds"] else "none",
    )


def _spec(drawn: Blueprint, notes: Config) -> BackboneSpec:
    return spec_of(drawn.denoiser, drawn.vae, notes)


# Memory and work.


def _parameters(drawn: Blueprint) -> tuple[float, float, float]:
    """Blocks of two streams weigh 36 D², those of one 15 D²: counted as so many of the larger, a broken number."""
    config, d, head = drawn.denoiser, drawn.width, drawn.heads[1]
    both = 2 * (4 * d * d + 4 * d) + 4 * head + 2 * (8 * d * d + 5 * d) + 2 * (6 * d * d + 6 * d)
    one = 3 * d * d + 3 * d + 2 * head + 4 * d * d + 4 * d + 5 * d * d + d + 3 * d * d + 3 * d
    embedders = 3 if config["guidance_embeds"] else 2  # of time, of the scale, of the pooled vector
    rest = (embedders - 1) * 257 * d + config["pooled_projection_dim"] * d + d + embedders * (d * d + d)
    rest += (config["joint_attention_dim"] + 1) * d + (config["in_channels"] + 1) * d
    rest += 2 * d * d + 2 * d + d * config["in_channels"] + config["in_channels"]
    count = config["num_layers"] + config["num_single_layers"] * one / both
    whole = rest + config["num_layers"] * both + config["num_single_layers"] * one
    return whole - both * count, both, count


def _seen(drawn: Blueprint, latent: Latent) -> int:
    return drawn.tokens(latent) + drawn.text_tokens


ROTARY = 4
"""Copies of the queries that are turned, in float32."""


def _block(drawn: Blueprint, latent: Latent, itemsize: int) -> float:
    """A block of one stream at its widest: a feed-forward of four times its width beside attention, and their join."""
    tokens = _seen(drawn, latent)
    return max(13.0, 9.0 + ROTARY * FLOAT / itemsize) * tokens * drawn.width


def _work(drawn: Blueprint, latent: Latent) -> float:
    """Of blocks of width D on N tokens of picture and text, 24 D² N + 4 D N² each, alike in both kinds."""
    d, n = drawn.width, _seen(drawn, latent)
    return float(drawn.layers * (24 * d * d * n + 4 * d * n * n))


def _tile(vae: Config, size: tuple[int, int], decode: bool) -> tuple[int, int]:
    own = int(vae["sample_size"]) // scale_of(vae)
    return min(size[0], own), min(size[1], own)


SHEET = SHEETS.add(
    "flux",
    Sheet(
        pipelines=("FluxPipeline", "Flux*"),
        signs=Signs(
            "FLUX.1",
            r"x_embedder\.weight|double_blocks\.\d+\.img_attn\.",
            r"single_transformer_blocks|double_blocks|single_blocks",
            {3072: "FLUX.1"},
        ),
        spec=_spec,
        denoiser=DenoiserTerms(
            patch=lambda _: (1, 2, 2),
            text_tokens=text_tokens,
            parameters=_parameters,
            seen=_seen,
            block=_block,
            prompt=lambda drawn: int(drawn.denoiser["joint_attention_dim"]) + drawn.width,
            widest=lambda drawn: 6 * drawn.width**2,
            work=_work,
            layers=lambda config: int(config["num_layers"]) + int(config["num_single_layers"]),
            channels=lambda config: int(config["in_channels"]) // 4,
        ),
        autoencoder=AutoencoderTerms(
            scale=scale_of,
            weights=coder.MEMORY.weights,
            peak=coder.MEMORY.peak,
            tile=_tile,
            chunks=lambda drawn, latents, decode: (1, 0),
        ),
        encoders={"text_encoder_2": t5.TERMS, "text_encoder": clip.TERMS},
        reads={"text_encoder": 77},
        releases=RELEASES,
        small=SMALL,
        recipes={
            "flux": Recipe("FLUX.1 dev", _random, _notes),
            "flux-schnell": Recipe("FLUX.1 schnell", _random_schnell, _notes),
        },
    ),
)
