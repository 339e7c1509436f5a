"""Wan 2.1 and 2.2: the words of their released files, small random ones, shapes, memory and work."""

from typing import Any

from flowedit.backbones.coders.memory import wan as coder
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
    "added_kv_proj_dim": None, "attention_head_dim": 128, "cross_attn_norm": True, "eps": 1e-06, "ffn_dim": 8960,
    "freq_dim": 256, "image_dim": None, "in_channels": 16, "num_attention_heads": 12, "num_layers": 30,
    "out_channels": 16, "patch_size": [1, 2, 2], "qk_norm": "rms_norm_across_heads", "rope_max_seq_len": 1024,
    "text_dim": 4096,
}  # fmt: skip

VAE_WAN: Config = {
    "attn_scales": [], "base_dim": 96, "dim_mult": [1, 2, 4, 4], "dropout": 0.0,
    "latents_mean": [
        -0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508, 0.4134, -0.0715, 0.5517, -0.3632,
        -0.1922, -0.9497, 0.2503, -0.2921,
    ],
    "latents_std": [
        2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743, 3.2687, 2.1526, 2.8652, 1.5579, 1.6382,
        1.1253, 2.8251, 1.9160,
    ],
    "num_res_blocks": 2, "temperal_downsample": [False, True, True], "z_dim": 16,
}  # fmt: skip

VAE_WAN22: Config = {
    **VAE_WAN, "base_dim": 160, "decoder_base_dim": 256, "in_channels": 12, "is_residual": True,
    "latents_mean": [
        -0.2289, -0.0052, -0.1323, -0.2339, -0.2799, 0.0174, 0.1838, 0.1557, -0.1382, 0.0542, 0.2813, 0.0891, 0.157,
        -0.0098, 0.0375, -0.1825, -0.2246, -0.1207, -0.0698, 0.5109, 0.2665, -0.2108, -0.2158, 0.2502, -0.2055,
        -0.0322, 0.1109, 0.1567, -0.0729, 0.0899, -0.2799, -0.123, -0.0313, -0.1649, 0.0117, 0.0723, -0.2839, -0.2083,
        -0.052, 0.3748, 0.0152, 0.1957, 0.1433, -0.2944, 0.3573, -0.0548, -0.1681, -0.0667,
    ],
    "latents_std": [
        0.4765, 1.0364, 0.4514, 1.1677, 0.5313, 0.499, 0.4818, 0.5013, 0.8158, 1.0344, 0.5894, 1.0901, 0.6885, 0.6165,
        0.8454, 0.4978, 0.5759, 0.3523, 0.7135, 0.6804, 0.5833, 1.4146, 0.8986, 0.5659, 0.7069, 0.5338, 0.4889, 0.4917,
        0.4069, 0.4999, 0.6866, 0.4093, 0.5709, 0.6065, 0.6415, 0.4944, 0.5726, 1.2042, 0.5458, 1.6887, 0.3971, 1.06,
        0.3943, 0.5537, 0.5444, 0.4089, 0.7468, 0.7744,
    ],
    "out_channels": 12, "patch_size": 2, "scale_factor_spatial": 16, "scale_factor_temporal": 4, "z_dim": 48,
}  # fmt: skip

UNIPC: Config = {
    "beta_end": 0.02, "beta_schedule": "linear", "beta_start": 0.0001, "disable_corrector": [],
    "dynamic_thresholding_ratio": 0.995, "final_sigmas_type": "zero", "flow_shift": 3.0, "lower_order_final": True,
    "num_train_timesteps": 1000, "predict_x0": True, "prediction_type": "flow_prediction",
    "rescale_betas_zero_snr": False, "sample_max_value": 1.0, "solver_order": 2, "solver_p": None,
    "solver_type": "bh2", "steps_offset": 0, "thresholding": False, "timestep_spacing": "linspace",
    "trained_betas": None, "use_beta_sigmas": False, "use_exponential_sigmas": False, "use_flow_sigmas": True,
    "use_karras_sigmas": False,
}  # fmt: skip

FLOW_MATCH: Config = {
    "base_image_seq_len": 256, "base_shift": 0.5, "invert_sigmas": False, "max_image_seq_len": 4096,
    "max_shift": 1.15, "num_train_timesteps": 1000, "shift": 3.0, "shift_terminal": None, "use_beta_sigmas": False,
    "use_dynamic_shifting": False, "use_exponential_sigmas": False, "use_karras_sigmas": False,
}  # fmt: skip
"""The scheduler with which Wan 14B first lay on the hub."""


def _release(
    transformer: Config, files: int, vae: Config = VAE_WAN, shift: float = 3.0, two: bool = False, **index: Any
) -> Release:
    network = ReleasedPart("WanTransformer3DModel", transformer, "float32", files)
    return Release(
        "WanPipeline", "0.35.0.dev0" if index else "0.33.0.dev0",
        {
            "transformer": network,
            **({"transformer_2": network} if two else {}),
            "vae": ReleasedPart("AutoencoderKLWan", vae, "float32"),
            "text_encoder": t5.umt5_part("float32", 5),
        },
        ("UniPCMultistepScheduler", {**UNIPC, "flow_shift": shift}), {"tokenizer": t5.UMT5_TOKENIZER}, index,
    )  # fmt: skip


FOURTEEN_B = {**TRANSFORMER, "ffn_dim": 13824, "num_attention_heads": 40, "num_layers": 40}

RELEASES = {
    "wan2.1-t2v-1.3b": _release(TRANSFORMER, 2),
    "wan2.1-t2v-14b": _release(FOURTEEN_B, 12),
    "wan2.2-t2v-a14b": _release(FOURTEEN_B, 12, two=True, boundary_ratio=0.875, expand_timesteps=False),
    "wan2.2-ti2v-5b": _release(
        {**TRANSFORMER, "ffn_dim": 14336, "in_channels": 48, "num_attention_heads": 24, "out_channels": 48},
        3, VAE_WAN22, 5.0, boundary_ratio=None, expand_timesteps=True,
    ),
}  # fmt: skip

SMALL: dict[str, Config] = {
    "WanTransformer3DModel": {
        "attention_head_dim": 16, "ffn_dim": 64, "freq_dim": 32, "num_attention_heads": 2, "num_layers": 2,
        "text_dim": 32,
    },
    "AutoencoderKLWan": {"base_dim": 8, "dim_mult": [1, 1, 1, 1], "num_res_blocks": 1},
    "UMT5EncoderModel": t5.SMALL,
}  # fmt: skip


# Small random checkpoints.


def _random(sample: SampleSize) -> Any:
    return _random_of(
        {"z_dim": 4, "latents_mean": [-0.2, 0.1, 0.3, -0.1], "latents_std": [0.8, 1.2, 0.5, 1.5]}, shift=3.0
    )


def heeding(transformer: Any) -> None:
    for block in transformer.blocks:  # the few tokens of a prompt would drown among 512 keys of zeros
        block.attn2.norm_q.weight.data *= 8.0
        block.attn2.to_out[0].weight.data *= 8.0


def _random_a14b(sample: SampleSize) -> Any:
    from diffusers import WanPipeline, WanTransformer3DModel

    made = _random(sample)
    second: Any = WanTransformer3DModel.from_config(made.transformer.config)
    heeding(second)
    return WanPipeline(**made.components | {"transformer_2": second.eval()}, boundary_ratio=0.875)


def _random_22(sample: SampleSize) -> Any:
    vae = {
        "z_dim": 6, "decoder_base_dim": 4, "is_residual": True, "in_channels": 12, "out_channels": 12,
        "patch_size": 2, "scale_factor_spatial": 16, "dim_mult": [1, 2, 2, 2],
        "latents_mean": [-0.2, 0.1, 0.3, -0.1, 0.2, 0.0], "latents_std": [0.8, 1.2, 0.5, 1.5, 0.9, 1.1],
    }  # fmt: skip
    return _random_of(vae, shift=5.0, expand_timesteps=True)


def _random_of(own: dict[str, Any], shift: float, **index: Any) -> Any:
    from diffusers import AutoencoderKLWan, UniPCMultistepScheduler, WanPipeline, WanTransformer3DModel

    vae: Any = AutoencoderKLWan(**{"base_dim": 8, "dim_mult": [1, 1, 1, 1], "num_res_blocks": 1, **own})
    channels = own["z_dim"]
    transformer: Any = WanTransformer3DModel(
        num_attention_heads=4, attention_head_dim=16, in_channels=channels, out_channels=channels, text_dim=32,
        freq_dim=32, ffn_dim=128, num_layers=3,
    )  # fmt: skip
    heeding(transformer)
    scheduler = UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, num_train_timesteps=1000, flow_shift=shift
    )
    return WanPipeline(
        tokenizer=t5.tokenizer(), text_encoder=t5.random_umt5(), vae=vae.eval(),
        transformer=transformer.eval(), scheduler=scheduler, **index,
    )  # fmt: skip


def _notes(sample: SampleSize) -> dict[str, Any]:
    """What Wan's own files do not say."""
    return {"native_size": [8 * side for side in sample], "native_frames": 9}


def _notes_22(sample: SampleSize) -> dict[str, Any]:
    return {"native_size": [16 * side for side in sample], "native_frames": 9}


# Shapes.

NATIVE = {1536: (480, 832), 3072: (704, 1280)}
"""(height, width) that a transformer of Wan of this width was trained at (1.3B, 2.2 5B); no file says so either."""

LARGEST = (720, 1280)
"""The same for the 14B model, which knows 480p as well."""

FRAMES, FPS = 81, 16

FRAMES_22, FPS_22 = 121, 24
"""Of Wan 2.2 5B, which its residual autoencoder tells."""


def spec_of(config: Config, vae: Config, notes: Config) -> BackboneSpec:
    """The spec of a Wan by its transformer and autoencoder; `notes` are of a small one of ours.

    Name, notices, shift and world are the caller's.
    """
    patch, scale, places = config["patch_size"][1], vae.get("scale_factor_spatial", 8), config["rope_max_seq_len"]
    width = config["num_attention_heads"] * config["attention_head_dim"]
    height, width = notes.get("native_size", NATIVE.get(width, LARGEST))
    step = int(vae.get("scale_factor_temporal", 4))
    length, fps = (FRAMES_22, FPS_22) if vae.get("is_residual") else (FRAMES, FPS)
    return BackboneSpec(
        name="Wan",
        notices=(),
        trained=True,
        trained_frames=int(notes.get("native_frames", length)),
        fps=fps,
        latent_size=(height // scale, width // scale),
        native_area=height * width,
        multiple=scale * patch,
        frames_per_latent=step,
        trained_step=4,
        strength_shift=STRENGTH_SHIFT,
        # Its rotary table has so many places a side, and as many for latent frames.
        max_side=places * scale * patch,
        max_latents=places,
    )


def _spec(drawn: Blueprint, notes: Config) -> BackboneSpec:
    return spec_of(drawn.denoiser, drawn.vae, notes)


# Memory and work.

TEXT = 512
"""Tokens of text that Wan was trained with; no file of its says so."""

CROSS = (6, 4)
"""Of its attention to text: sizes of the block's input, and of the text, that it holds."""


def _patch(config: Config) -> tuple[int, int, int]:
    frames, height, width = config["patch_size"]
    return int(frames), int(height), int(width)


def _parameters(drawn: Blueprint) -> tuple[float, float, int]:
    config, d = drawn.denoiser, drawn.width
    ff, sites = config["ffn_dim"], drawn.patch[0] * drawn.patch[1] * drawn.patch[2]
    attention = 4 * d * d + 4 * d + 2 * d
    block = 2 * attention + 2 * d * ff + ff + d + 6 * d + (2 * d if config.get("cross_attn_norm", True) else 0)
    rest = config["in_channels"] * sites * d + d + (config["freq_dim"] + 1) * d + (d + 1) * d + (d + 1) * 6 * d
    rest += (config["text_dim"] + 1) * d + (d + 1) * d + 2 * d + (d + 1) * sites * config["out_channels"]
    return rest, block, config["num_layers"]


def _block(drawn: Blueprint, latent: Latent, itemsize: int) -> float:
    """A block at its widest: its feed-forward, of a width of its own, the sum after it in float32, or its attention to
    text.
    """
    tokens = drawn.tokens(latent)
    wide = 4 + 2 * drawn.denoiser["ffn_dim"] / drawn.width
    sizes = max(wide, 5 + 3 * FLOAT / itemsize if itemsize < FLOAT else 7.5)
    return max(sizes * tokens, CROSS[0] * tokens + CROSS[1] * TEXT) * drawn.width


def _work(drawn: Blueprint, latent: Latent) -> float:
    """Of blocks of width D and feed-forward F on N tokens of video, and T of text apart.

    (12 D^2 + 4 D F) N + 4 D^2 T + 4 D N (N + T) each.
    """
    d, n = drawn.width, drawn.tokens(latent)
    block = (12 * d * d + 4 * d * drawn.denoiser["ffn_dim"]) * n + 4 * d * d * TEXT + 4 * d * n * (n + TEXT)
    return float(drawn.layers * block)


def _scale(vae: Config) -> int:
    return int(vae.get("scale_factor_spatial", 8))


def _tile(vae: Config, size: tuple[int, int], decode: bool) -> tuple[int, int]:
    own = 256 * (1 if decode else vae.get("patch_size") or 1) // _scale(vae)
    return min(size[0], own), min(size[1], own)


def _chunks(drawn: Blueprint, latents: int, decode: bool) -> tuple[int, int]:
    return 1, (1 if decode else 4) if latents > 1 else 0


SHEET = SHEETS.add(
    "wan",
    Sheet(
        pipelines=("Wan*",),
        signs=Signs(
            "Wan",
            maybe=r"blocks[._]\d+[._](self_attn|cross_attn|attn[12]|ffn)",
            sizes={1536: "Wan 1.3B", 3072: "Wan 2.2 5B", 5120: "Wan 14B"},
        ),
        spec=_spec,
        denoiser=DenoiserTerms(
            patch=_patch,
            text_tokens=lambda _: TEXT,
            parameters=_parameters,
            seen=lambda drawn, latent: drawn.tokens(latent),
            block=_block,
            prompt=lambda drawn: int(drawn.denoiser["text_dim"]) + drawn.width,
            widest=lambda drawn: drawn.width * int(drawn.denoiser["ffn_dim"]),
            work=_work,
        ),
        autoencoder=AutoencoderTerms(
            scale=_scale,
            weights=coder.MEMORY.weights,
            peak=coder.MEMORY.peak,
            tile=_tile,
            chunks=_chunks,
            itemsize=FLOAT,
        ),
        encoders={"text_encoder": t5.TERMS},
        itemsize=2,  # whatever its files hold
        releases=RELEASES,
        small=SMALL,
        recipes={
            "wan": Recipe("Wan 2.1", _random, _notes),
            "wan2.2": Recipe("Wan 2.2 5B", _random_22, _notes_22),
            "wan2.2-a14b": Recipe("Wan 2.2 A14B", _random_a14b, _notes),
        },
    ),
)
