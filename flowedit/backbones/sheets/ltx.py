"""LTX-Video 0.9 and 0.9.1: the words of their released files, small random ones, shapes, memory and work."""

from typing import Any

from flowedit.backbones.coders.memory import ltx as coder
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
    "activation_fn": "gelu-approximate", "attention_bias": True, "attention_head_dim": 64, "attention_out_bias": True,
    "caption_channels": 4096, "cross_attention_dim": 2048, "in_channels": 128, "norm_elementwise_affine": False,
    "norm_eps": 1e-06, "num_attention_heads": 32, "num_layers": 28, "out_channels": 128, "patch_size": 1,
    "patch_size_t": 1, "qk_norm": "rms_norm_across_heads",
}  # fmt: skip

VAE: Config = {
    "block_out_channels": [128, 256, 512, 512], "decoder_causal": False, "encoder_causal": True, "in_channels": 3,
    "latent_channels": 128, "layers_per_block": [4, 3, 3, 3, 4], "out_channels": 3, "patch_size": 4,
    "patch_size_t": 1, "resnet_norm_eps": 1e-06, "scaling_factor": 1.0,
    "spatio_temporal_scaling": [True, True, True, False],
}  # fmt: skip

SCHEDULE: Config = {
    "base_image_seq_len": 1024, "base_shift": 0.95, "invert_sigmas": False, "max_image_seq_len": 4096,
    "max_shift": 2.05, "num_train_timesteps": 1000, "shift": 1.0, "shift_terminal": 0.1, "use_beta_sigmas": False,
    "use_dynamic_shifting": True, "use_exponential_sigmas": False, "use_karras_sigmas": False,
}  # fmt: skip

RELEASE = Release(
    "LTXPipeline", "0.32.0.dev0",
    {
        "transformer": ReleasedPart("LTXVideoTransformer3DModel", TRANSFORMER, "float32", 2),
        "vae": ReleasedPart("AutoencoderKLLTXVideo", VAE, "float32"),
        "text_encoder": t5.part("float32", 4),
    },
    ("FlowMatchEulerDiscreteScheduler", SCHEDULE), {"tokenizer": t5.TOKENIZER},
)  # fmt: skip

SMALL: dict[str, Config] = {
    "LTXVideoTransformer3DModel": {
        "attention_head_dim": 8, "caption_channels": 32, "cross_attention_dim": 32, "num_attention_heads": 4,
        "num_layers": 2,
    },
    "AutoencoderKLLTXVideo": {
        "block_out_channels": [8, 8, 8, 8], "decoder_block_out_channels": [8, 8, 8, 8], "layers_per_block": [1] * 5,
    },
    "T5EncoderModel": t5.SMALL,
}  # fmt: skip


# Small random checkpoints.


def _random(sample: SampleSize, **own: Any) -> Any:
    import torch
    from diffusers import (
        AutoencoderKLLTXVideo,
        FlowMatchEulerDiscreteScheduler,
        LTXPipeline,
        LTXVideoTransformer3DModel,
    )

    shape = {"block_out_channels": (8, 8, 8, 8), "decoder_block_out_channels": (8, 8, 8, 8)}
    layers = {"layers_per_block": (1,) * 5, "decoder_layers_per_block": (1,) * 5}
    vae: Any = AutoencoderKLLTXVideo(**{"latent_channels": 8, **shape, **layers, **own})
    vae.latents_mean.copy_(torch.linspace(-0.3, 0.3, 8))
    vae.latents_std.copy_(torch.linspace(0.6, 1.4, 8))
    transformer: Any = LTXVideoTransformer3DModel(
        in_channels=8, out_channels=8, num_attention_heads=4, attention_head_dim=12, cross_attention_dim=48,
        caption_channels=32, num_layers=3,
    )  # fmt: skip
    for block in transformer.transformer_blocks:
        block.attn2.norm_q.weight.data *= 8.0
        block.attn2.to_out[0].weight.data *= 4.0
    return LTXPipeline(
        tokenizer=t5.tokenizer(), text_encoder=t5.random_t5(), vae=vae.eval(), transformer=transformer.eval(),
        scheduler=FlowMatchEulerDiscreteScheduler(**SCHEDULE),
    )  # fmt: skip


def _random_091(sample: SampleSize) -> Any:
    made = _random(
        sample, decoder_block_out_channels=(8, 16, 32), decoder_layers_per_block=(1, 1, 1, 1),
        decoder_inject_noise=(True, True, True, False), decoder_spatio_temporal_scaling=(True, True, True),
        timestep_conditioning=True, upsample_factor=(2, 2, 2), upsample_residual=(True, True, True),
    )  # fmt: skip
    for name, weight in made.vae.named_parameters():
        if "per_channel_scale" in name:
            weight.data.fill_(0.1)
    return made


def _notes(sample: SampleSize) -> dict[str, Any]:
    """What no file of an LTX says."""
    return {"native_size": [32 * max(1, side // 4) for side in sample], "native_frames": 9}


# Shapes.

NATIVE, FRAMES, FPS = (512, 704), 161, 25
"""(height, width), length and rate of its pipeline's defaults; no file says so."""

TOKENS = 21 * 16 * 22
"""Those of such a clip."""

STEP = 8
"""Frames of a latent frame after the first."""


def scale_of(vae: Config) -> int:
    """Pixels a side of a latent site."""
    own = vae.get("spatial_compression_ratio")
    return int(own or vae.get("patch_size", 4) * 2 ** sum(vae.get("spatio_temporal_scaling", (True, True, True))))


def spec_of(config: Config, vae: Config, notes: Config) -> BackboneSpec:
    """The spec of an LTX-Video by its transformer and autoencoder; `notes` are of a small one of ours.

    Name, notices, shift and world are the caller's.
    """
    scale = scale_of(vae)
    height, width = notes.get("native_size", NATIVE)
    return BackboneSpec(
        name="LTX-Video",
        notices=(),
        trained=True,
        trained_frames=int(notes.get("native_frames", FRAMES)),
        fps=FPS,
        latent_size=(height // scale, width // scale),
        native_area=height * width,
        multiple=scale,
        frames_per_latent=STEP,
        trained_step=STEP,
        strength_shift=STRENGTH_SHIFT,
    )


def _spec(drawn: Blueprint, notes: Config) -> BackboneSpec:
    return spec_of(drawn.denoiser, drawn.vae, notes)


# Memory and work.

TEXT = 128
"""Tokens of text that it was trained with; no file of its says so."""

WIDEST = 10.0
"""Sizes of a block's input that it holds at its widest, in its feed-forward."""


def _patch(config: Config) -> tuple[int, int, int]:
    return 1, 1, 1


def _parameters(drawn: Blueprint) -> tuple[float, float, int]:
    config, d = drawn.denoiser, drawn.width
    cross, said = config["cross_attention_dim"], config["caption_channels"]
    own = 4 * (d * d + d) + 2 * d
    to_text = 2 * (d * d + d) + 2 * (cross * d + d) + 2 * d
    block = own + to_text + 8 * d * d + 5 * d + 6 * d
    rest = config["in_channels"] * d + d + 2 * d + 257 * d + (d + 1) * d + (d + 1) * 6 * d
    rest += (said + 1) * d + (d + 1) * d + (d + 1) * config["out_channels"]
    return rest, block, config["num_layers"]


def _block(drawn: Blueprint, latent: Latent, itemsize: int) -> float:
    return WIDEST * drawn.tokens(latent) * drawn.width


def _work(drawn: Blueprint, latent: Latent) -> float:
    """Of blocks of width D on N tokens of video, and T of text: (28 D^2) N + 4 D^2 T + 4 D N (N + T) each."""
    d, n = drawn.width, drawn.tokens(latent)
    return float(drawn.layers * (28 * d * d * n + 4 * d * d * TEXT + 4 * d * n * (n + TEXT)))


def _places(drawn: Blueprint, latent: Latent) -> float:
    """Bytes of its rotary table, cosine and sine as wide as the network, of two rows."""
    return 2 * 2 * drawn.tokens(latent) * drawn.width * FLOAT


def _tile(vae: Config, size: tuple[int, int], decode: bool) -> tuple[int, int]:
    own = 512 // scale_of(vae)
    return min(size[0], own), min(size[1], own)


def _chunks(drawn: Blueprint, latents: int, decode: bool) -> tuple[int, int]:
    return (latents if decode else 1 + STEP * (latents - 1)), 0


SHEET = SHEETS.add(
    "ltx",
    Sheet(
        pipelines=("LTXPipeline",),
        signs=Signs(
            "LTX-Video",
            r"patchify_proj|transformer_blocks[._]\d+[._]attn2",
            r"transformer_blocks[._]\d+[._](attn1|norm1|norm2|ff)[._]",
            {2048: "LTX-Video"},
        ),
        spec=_spec,
        denoiser=DenoiserTerms(
            patch=_patch,
            text_tokens=lambda _: TEXT,
            parameters=_parameters,
            seen=lambda drawn, latent: drawn.tokens(latent),
            block=_block,
            prompt=lambda drawn: int(drawn.denoiser["caption_channels"]) + drawn.width,
            widest=lambda drawn: 4 * drawn.width**2,
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
        releases={"ltx-video": RELEASE},
        small=SMALL,
        recipes={
            "ltx": Recipe("LTX-Video", _random, _notes),
            "ltx0.9.1": Recipe("LTX-Video 0.9.1", _random_091, _notes),
        },
    ),
)
