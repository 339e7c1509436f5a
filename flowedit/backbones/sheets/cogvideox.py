"""CogVideoX 1.0 and 1.5: the words of their released files, small random ones, shapes, memory and work."""

from typing import TYPE_CHECKING, Any

from flowedit.backbones.coders.memory import cogvideox as coder
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
    rotary_tables,
)
from flowedit.types import BackboneSpec

if TYPE_CHECKING:
    from diffusers import CogVideoXDDIMScheduler

TRANSFORMER_10: Config = {
    "activation_fn": "gelu-approximate", "attention_bias": True, "attention_head_dim": 64, "dropout": 0.0,
    "flip_sin_to_cos": True, "freq_shift": 0, "in_channels": 16, "max_text_seq_length": 226,
    "norm_elementwise_affine": True, "norm_eps": 1e-05, "num_attention_heads": 30, "num_layers": 30,
    "out_channels": 16, "patch_size": 2, "sample_frames": 49, "sample_height": 60, "sample_width": 90,
    "spatial_interpolation_scale": 1.875, "temporal_compression_ratio": 4, "temporal_interpolation_scale": 1.0,
    "text_embed_dim": 4096, "time_embed_dim": 512, "timestep_activation_fn": "silu",
    "use_rotary_positional_embeddings": False,
}  # fmt: skip

VAE_COG: Config = {
    "act_fn": "silu", "block_out_channels": [128, 256, 256, 512],
    "down_block_types": ["CogVideoXDownBlock3D"] * 4, "force_upcast": True, "in_channels": 3, "latent_channels": 16,
    "latents_mean": None, "latents_std": None, "layers_per_block": 3, "norm_eps": 1e-06, "norm_num_groups": 32,
    "out_channels": 3, "sample_height": 480, "sample_width": 720, "scaling_factor": 0.7, "shift_factor": None,
    "temporal_compression_ratio": 4, "up_block_types": ["CogVideoXUpBlock3D"] * 4, "use_post_quant_conv": False,
    "use_quant_conv": False,
}  # fmt: skip

VAE_2B: Config = {
    key: value for key, value in VAE_COG.items() if key not in ("latents_mean", "latents_std", "shift_factor")
} | {"scaling_factor": 1.15258426, "mid_block_add_attention": True, "sample_size": 256}
"""With two keys of an older diffusers, which its present class has not."""

DDIM: Config = {
    "beta_end": 0.012, "beta_schedule": "scaled_linear", "beta_start": 0.00085, "clip_sample": False,
    "clip_sample_range": 1.0, "num_train_timesteps": 1000, "prediction_type": "v_prediction",
    "rescale_betas_zero_snr": True, "sample_max_value": 1.0, "set_alpha_to_one": True, "snr_shift_scale": 1.0,
    "steps_offset": 0, "timestep_spacing": "trailing", "trained_betas": None,
}  # fmt: skip


def _release(
    version: str, transformer: Config, vae: Config, schedule: Config, files: int, text: ReleasedPart
) -> Release:
    dtype = "float16" if transformer["num_layers"] == 30 else "bfloat16"
    return Release(
        "CogVideoXPipeline", version,
        {
            "transformer": ReleasedPart("CogVideoXTransformer3DModel", transformer, dtype, files),
            "vae": ReleasedPart("AutoencoderKLCogVideoX", vae, "float32"),
            "text_encoder": text,
        },
        ("CogVideoXDDIMScheduler", schedule), {"tokenizer": t5.TOKENIZER},
    )  # fmt: skip


FIVE_B = {**TRANSFORMER_10, "num_attention_heads": 48, "num_layers": 42, "use_rotary_positional_embeddings": True}

RELEASES = {
    "cogvideox-2b": _release(
        "0.30.0.dev0", TRANSFORMER_10, VAE_2B, {**DDIM, "snr_shift_scale": 3.0, "timestep_spacing": "linspace"}, 1,
        t5.part("float16", 2),
    ),
    "cogvideox-5b": _release("0.31.0.dev0", FIVE_B, VAE_COG, DDIM, 2, t5.part("bfloat16", 2)),
    "cogvideox1.5-5b": _release(
        "0.32.0.dev0",
        {
            **FIVE_B, "ofs_embed_dim": None, "patch_bias": False, "patch_size_t": 2, "sample_frames": 81,
            "sample_height": 300, "sample_width": 300,
        },
        {**VAE_COG, "invert_scale_latents": True}, DDIM, 3, t5.part("float32", 4),
    ),
}  # fmt: skip

SMALL: dict[str, Config] = {
    "CogVideoXTransformer3DModel": {
        "attention_head_dim": 16, "num_attention_heads": 2, "num_layers": 2, "text_embed_dim": 32, "time_embed_dim": 32,
    },
    "AutoencoderKLCogVideoX": {"block_out_channels": [8, 8, 8, 8], "layers_per_block": 1, "norm_num_groups": 2},
    "T5EncoderModel": t5.SMALL,
}  # fmt: skip


# Small random checkpoints.


def _random(
    sample: SampleSize, *, scaling: float = 0.7, snr_shift: float = 1.0, rotary: bool = True, patch_t: int | None = None
) -> Any:
    from diffusers import CogVideoXPipeline, CogVideoXTransformer3DModel

    encoder, vae = t5.random_t5(), _vae(scaling)
    transformer: Any = CogVideoXTransformer3DModel(
        num_attention_heads=4, attention_head_dim=16, in_channels=4, out_channels=4, time_embed_dim=32,
        text_embed_dim=32, num_layers=3, sample_height=sample[0], sample_width=sample[1], sample_frames=9,
        patch_size=2, patch_size_t=patch_t, patch_bias=patch_t is None, max_text_seq_length=226,
        use_rotary_positional_embeddings=rotary,
    )  # fmt: skip
    return CogVideoXPipeline(
        tokenizer=t5.tokenizer(), text_encoder=encoder, vae=vae, transformer=transformer.eval(),
        scheduler=_scheduler(snr_shift),
    )  # fmt: skip


def _vae(scaling: float) -> Any:
    from diffusers import AutoencoderKLCogVideoX

    vae: Any = AutoencoderKLCogVideoX(
        down_block_types=("CogVideoXDownBlock3D",) * 4,
        up_block_types=("CogVideoXUpBlock3D",) * 4,
        block_out_channels=(8, 8, 8, 8),
        latent_channels=4,
        layers_per_block=1,
        norm_num_groups=2,
        scaling_factor=scaling,
    )
    return vae.eval()


def _scheduler(snr_shift: float) -> "CogVideoXDDIMScheduler":
    from diffusers import CogVideoXDDIMScheduler

    return CogVideoXDDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False, set_alpha_to_one=True,
        prediction_type="v_prediction", rescale_betas_zero_snr=True, timestep_spacing="trailing",
        snr_shift_scale=snr_shift,
    )  # fmt: skip


def _random_2b(sample: SampleSize) -> Any:
    return _random(sample, scaling=1.15258426, snr_shift=3.0, rotary=False)


def _random_15(sample: SampleSize) -> Any:
    side = max(sample)  # a bound of the table of positions, as in the real one
    return _random((side, side), patch_t=2)


# Shapes.

NATIVE_15 = (96, 170)
"""Latent (height, width) of 768 x 1360, CogVideoX 1.5's own size; its files hold 300 x 300, a bound of its table."""

FPS, FPS_15 = 8, 16
"""Frames a second of the clips that CogVideoX 1.0 and 1.5 learned from; no file says so."""


def spec_of(config: Config, vae: Config, *, any_size: bool = False) -> BackboneSpec:
    """The spec of a CogVideoX by its transformer and autoencoder; `any_size` for a small one of ours.

    Name, notices and world are the caller's.
    """
    patch, patch_t = config.get("patch_size", 2), config.get("patch_size_t") or 1
    scale = 2 ** (len(vae["block_out_channels"]) - 1)
    sample = (config["sample_height"], config["sample_width"])
    height, width = (min(sample[0], NATIVE_15[0]), min(sample[1], NATIVE_15[1])) if patch_t > 1 else sample
    return BackboneSpec(
        name="CogVideoX",
        notices=(),
        trained=True,
        trained_frames=config["sample_frames"],
        fps=FPS_15 if patch_t > 1 else FPS,
        latent_size=(height, width),
        native_area=height * width * scale**2,
        multiple=scale * patch,
        frames_per_latent=int(vae.get("temporal_compression_ratio", 4)),
        any_size=any_size,  # the releases know one; our small ones are asked for at many
        trained_step=16 if patch_t > 1 else 8,
        strength_shift=None if any_size else STRENGTH_SHIFT,
        # The table of a "slice" grid ends at the sample size; beyond it there are no positions.
        max_side=min(sample) * scale if patch_t > 1 else None,
        patch_frames=patch_t,
        leading_latents=patch_t - 1,
    )


def _spec(drawn: Blueprint, notes: Config) -> BackboneSpec:
    return spec_of(drawn.denoiser, drawn.vae, any_size="classes" in notes)


# Memory and work.


def _patch(config: Config) -> tuple[int, int, int]:
    size = config["patch_size"]
    return (config.get("patch_size_t") or 1, size, size)


def _text_tokens(config: Config) -> int:
    return int(config.get("max_text_seq_length", 226))


def _parameters(drawn: Blueprint) -> tuple[float, float, int]:
    config, d = drawn.denoiser, drawn.width
    time, patch_t, p = config["time_embed_dim"], config.get("patch_size_t"), config["patch_size"]
    sites = p * p * (patch_t or 1)
    affine = 2 * d if config.get("norm_elementwise_affine", True) else 0
    block = 2 * (6 * d * (time + 1) + affine) + 4 * d * d + 4 * d + 8 * d * d + 5 * d
    block += 4 * config["attention_head_dim"] - (0 if config.get("attention_bias", True) else 3 * d)
    rest = config["in_channels"] * sites * d + d * (config.get("patch_bias", True) or bool(patch_t))
    rest += (config["text_embed_dim"] + 1) * d + (d + 1) * time + (time + 1) * time
    rest += affine + (time + 1) * 2 * d + affine + (d + 1) * sites * config["out_channels"]
    return rest, block, config["num_layers"]


def _seen(drawn: Blueprint, latent: Latent) -> int:
    """Text and video attend together."""
    return drawn.tokens(latent) + drawn.text_tokens


def _block(drawn: Blueprint, latent: Latent, itemsize: int) -> float:
    """A block at its widest, in sizes of its input: its feed-forward, or the turn of its keys in float32.

    Feed-forward: input, state, its norm and the attention's output, and twice four times the width. Turn: input, norm,
    text and video joined, q, k and v, and of the keys a turned copy and three of it in float32.
    """
    turn = 7 + 3 * FLOAT / itemsize if itemsize < FLOAT else 10.0
    sizes = max(12.0, turn) if drawn.denoiser.get("use_rotary_positional_embeddings") else 12.0
    return sizes * _seen(drawn, latent) * drawn.width


def _places(drawn: Blueprint, latent: Latent) -> float:
    """Rotary tables, or sincos ones in float64 for the size that it was trained at."""
    config = drawn.denoiser
    if config.get("use_rotary_positional_embeddings"):
        return rotary_tables(drawn, latent)
    frames = 1 + (config["sample_frames"] - 1) // config.get("temporal_compression_ratio", 4)
    own = frames * (config["sample_height"] // config["patch_size"]) * (config["sample_width"] // config["patch_size"])
    return (drawn.text_tokens + own) * drawn.width * 8


def _work(drawn: Blueprint, latent: Latent) -> float:
    """Of blocks of width D on N tokens of video and T of text together: 24 D^2 (N + T) + 4 D (N + T)^2 each."""
    d, seen = drawn.width, _seen(drawn, latent)
    return drawn.layers * (24 * d * d * seen + 4 * d * seen**2)


def _scale(vae: Config) -> int:
    return int(2 ** (len(vae["block_out_channels"]) - 1))


def _tile(vae: Config, size: tuple[int, int], decode: bool) -> tuple[int, int]:
    pixels, scale = (vae.get("sample_height", 480) // 2, vae.get("sample_width", 720) // 2), _scale(vae)
    own = (int(pixels[0] / scale), int(pixels[1] / scale))
    for i, overlap in enumerate((1 / 6, 1 / 5)):
        keep = own[i] - int(own[i] * overlap), pixels[i] - int(pixels[i] * overlap)
        if (
            int(pixels[i] * (1 - overlap)) * own[i] != keep[0] * pixels[i]
            or int(own[i] * (1 - overlap)) * pixels[i] != keep[1] * own[i]
        ):
            return size  # its tiles would not join, see zoo/cogvideox.py
    return size if size[0] <= own[0] and size[1] <= own[1] else (min(size[0], own[0]), min(size[1], own[1]))


def _chunks(drawn: Blueprint, latents: int, decode: bool) -> tuple[int, int]:
    """The first chunk takes the remainder too; a latent frame that stands before the clip is not coded."""
    frames = latents - (drawn.patch[0] - 1)
    count, chunk = (frames, 2) if decode else (1 + (frames - 1) * 4, 8)
    return (count, 0) if count < 2 * chunk else (chunk + count % chunk, chunk)


SHEET = SHEETS.add(
    "cogvideox",
    Sheet(
        pipelines=("CogVideoX*",),
        signs=Signs(
            "CogVideoX",
            r"patch_embed\.text_proj",
            r"transformer_blocks[._]\d+[._](attn1|norm1|norm2|ff)[._]",
            {1920: "CogVideoX 2B", 3072: "CogVideoX 5B"},
        ),
        spec=_spec,
        denoiser=DenoiserTerms(
            patch=_patch,
            text_tokens=_text_tokens,
            parameters=_parameters,
            seen=_seen,
            block=_block,
            prompt=lambda drawn: 2 * int(drawn.denoiser["text_embed_dim"]),
            widest=lambda drawn: 4 * drawn.width**2,
            work=_work,
            places=_places,
        ),
        autoencoder=AutoencoderTerms(
            scale=_scale, weights=coder.MEMORY.weights, peak=coder.MEMORY.peak, tile=_tile, chunks=_chunks
        ),
        encoders={"text_encoder": t5.TERMS},
        frame_step=lambda _: 8,
        releases=RELEASES,
        small=SMALL,
        recipes={
            "2b": Recipe("CogVideoX 2b", _random_2b),  # sincos positions
            "5b": Recipe("CogVideoX 5b", _random),  # rotary ones
            "1.5": Recipe("CogVideoX 1.5", _random_15),  # patches of two latent frames
        },
    ),
)
