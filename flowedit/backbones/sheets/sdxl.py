"""Stable Diffusion XL: the words of its released files, a small random one, shapes, memory and work."""

from typing import Any

from flowedit.backbones.coders.memory import image as coder
from flowedit.backbones.encoders import clip
from flowedit.backbones.sheet import (
    FLOAT,
    SHEETS,
    STRENGTH_SHIFT,
    AutoencoderTerms,
    Blueprint,
    Config,
    DenoiserTerms,
    Recipe,
    Release,
    ReleasedPart,
    SampleSize,
    Sheet,
    Signs,
)
from flowedit.backbones.sheets import modelscope
from flowedit.backbones.sheets.modelscope import scale_of
from flowedit.backbones.unets import reckoned
from flowedit.types import BackboneSpec

PIPELINES = ("StableDiffusionXLPipeline",)

UNET: Config = {
    "act_fn": "silu", "addition_embed_type": "text_time", "addition_embed_type_num_heads": 64,
    "addition_time_embed_dim": 256, "attention_head_dim": [5, 10, 20], "block_out_channels": [320, 640, 1280],
    "center_input_sample": False, "class_embed_type": None, "class_embeddings_concat": False, "conv_in_kernel": 3,
    "conv_out_kernel": 3, "cross_attention_dim": 2048, "cross_attention_norm": None,
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"], "downsample_padding": 1,
    "dual_cross_attention": False, "encoder_hid_dim": None, "encoder_hid_dim_type": None, "flip_sin_to_cos": True,
    "freq_shift": 0, "in_channels": 4, "layers_per_block": 2, "mid_block_only_cross_attention": None,
    "mid_block_scale_factor": 1, "mid_block_type": "UNetMidBlock2DCrossAttn", "norm_eps": 1e-05,
    "norm_num_groups": 32, "num_attention_heads": None, "num_class_embeds": None, "only_cross_attention": False,
    "out_channels": 4, "projection_class_embeddings_input_dim": 2816, "resnet_out_scale_factor": 1.0,
    "resnet_skip_time_act": False, "resnet_time_scale_shift": "default", "sample_size": 128,
    "time_cond_proj_dim": None, "time_embedding_act_fn": None, "time_embedding_dim": None,
    "time_embedding_type": "positional", "timestep_post_act": None, "transformer_layers_per_block": [1, 2, 10],
    "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"], "upcast_attention": None,
    "use_linear_projection": True,
}  # fmt: skip

VAE: Config = {**modelscope.VAE, "force_upcast": True, "sample_size": 1024, "scaling_factor": 0.13025}

EULER: Config = {
    "beta_end": 0.012, "beta_schedule": "scaled_linear", "beta_start": 0.00085, "clip_sample": False,
    "interpolation_type": "linear", "num_train_timesteps": 1000, "prediction_type": "epsilon",
    "sample_max_value": 1.0, "set_alpha_to_one": False, "skip_prk_steps": True, "steps_offset": 1,
    "timestep_spacing": "leading", "trained_betas": None, "use_karras_sigmas": False,
}  # fmt: skip

RELEASES = {
    "sdxl-base-1.0": Release(
        PIPELINES[0], "0.19.0.dev0",
        {
            "unet": ReleasedPart("UNet2DConditionModel", UNET, "float32"),
            "vae": ReleasedPart("AutoencoderKL", VAE, "float32"),
            "text_encoder": ReleasedPart("CLIPTextModel", clip.LARGE, "float32", library="transformers"),
            "text_encoder_2": ReleasedPart(
                "CLIPTextModelWithProjection", clip.BIG_G, "float32", library="transformers"
            ),
        },
        ("EulerDiscreteScheduler", EULER),
        {"tokenizer": clip.TOKENIZER, "tokenizer_2": clip.TOKENIZER_2},
        {"force_zeros_for_empty_prompt": True},
    ),
}  # fmt: skip

SMALL: dict[str, Config] = {
    "UNet2DConditionModel": {
        "addition_time_embed_dim": 8, "attention_head_dim": [1, 2, 2], "block_out_channels": [8, 16, 16],
        "cross_attention_dim": 64, "layers_per_block": 1, "norm_num_groups": 4,
        "projection_class_embeddings_input_dim": 80, "transformer_layers_per_block": [1, 1, 2],
    },
    "AutoencoderKL": modelscope.SMALL["AutoencoderKL"],
    "CLIPTextModel": clip.SMALL,
    "CLIPTextModelWithProjection": {**clip.SMALL, "projection_dim": 32},
}  # fmt: skip


# A small random checkpoint.


def _random(sample: SampleSize) -> Any:
    """Its attention to text is at two sizes, and strong."""
    from diffusers import AutoencoderKL, EulerDiscreteScheduler, StableDiffusionXLPipeline, UNet2DConditionModel

    vae: Any = AutoencoderKL(
        block_out_channels=(8, 8, 8, 8), down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4, layers_per_block=1, latent_channels=4, norm_num_groups=4,
        sample_size=256, scaling_factor=0.13025,
    )  # fmt: skip
    own = {
        "block_out_channels": (16, 32, 32), "attention_head_dim": (2, 4, 4), "layers_per_block": 1,
        "cross_attention_dim": 80, "transformer_layers_per_block": (1, 1, 2), "norm_num_groups": 8,
        "addition_time_embed_dim": 8, "projection_class_embeddings_input_dim": 80,
    }  # fmt: skip
    unet: Any = UNet2DConditionModel.from_config({**UNET, **own})
    for name, weight in unet.named_parameters():
        if "attn2.to_" in name:  # the few tokens of a prompt would drown among 77
            weight.data *= 4.0
    return StableDiffusionXLPipeline(
        vae=vae.eval(), text_encoder=clip.random_text(), text_encoder_2=clip.random_projected(hidden_size=48),
        tokenizer=clip.tokenizer(), tokenizer_2=clip.tokenizer("!"), unet=unet.eval(),
        scheduler=EulerDiscreteScheduler.from_config(dict(EULER)), add_watermarker=False,
    )  # fmt: skip


def _notes(sample: SampleSize) -> dict[str, Any]:
    """What its own files do not say."""
    return {"native_size": [8 * side for side in sample]}


# Shapes.


def spec_of(config: Config, vae: Config, notes: Config) -> BackboneSpec:
    """The spec by its UNet and autoencoder: stills at about the area of its sample size, whatever their aspect.

    Sides halve at each of the UNet's levels without a rest. Name, notices and world are the caller's.
    """
    scale = scale_of(vae)
    height, width = notes.get("native_size", (scale * config["sample_size"],) * 2)
    return BackboneSpec(
        name="SDXL",
        notices=(),
        trained=True,
        trained_frames=1,
        fps=1,
        latent_size=(height // scale, width // scale),
        native_area=height * width,
        multiple=int(scale * 2 ** (len(config["block_out_channels"]) - 1)),
        frames_per_latent=1,
        strength_shift=STRENGTH_SHIFT,
        max_latents=1,
    )


def _spec(drawn: Blueprint, notes: Config) -> BackboneSpec:
    return spec_of(drawn.denoiser, drawn.vae, notes)


def _heads(config: Config) -> tuple[int, int]:
    """Of its largest size that sees text."""
    level = next(i for i, kind in enumerate(config["down_block_types"]) if kind.startswith("CrossAttn"))
    heads = int(config["attention_head_dim"][level])  # a name that diffusers keeps for old files
    return heads, int(config["block_out_channels"][level]) // heads


SHEET = SHEETS.add(
    "sdxl",
    Sheet(
        pipelines=PIPELINES,
        signs=Signs(
            "SDXL",
            r"add_embedding|label_emb|((down|up|mid|input|output|middle)_block).*transformer_blocks[._][2-9][._]",
            r"(down|up)_blocks|mid_block|input_blocks|output_blocks|middle_block",
        ),
        spec=_spec,
        denoiser=DenoiserTerms(
            patch=lambda _: (1, 1, 1),
            text_tokens=lambda _: reckoned.TEXT,
            parameters=reckoned.parameters,
            seen=lambda drawn, latent: drawn.tokens(latent) // 4,
            block=reckoned.held,
            beside=reckoned.beside,
            prompt=lambda drawn: int(drawn.denoiser["cross_attention_dim"]),
            widest=reckoned.widest,
            work=reckoned.work,
            places=lambda drawn, latent: 0.0,
            heads=_heads,
            layers=reckoned.seeing,
            folder="unet",
        ),
        autoencoder=AutoencoderTerms(
            scale=scale_of,
            weights=coder.MEMORY.weights,
            peak=coder.MEMORY.peak,
            tile=modelscope.tile_of,
            chunks=lambda drawn, latents, decode: (1, 0),
            itemsize=FLOAT,  # it overflows in float16
        ),
        encoders={"text_encoder": clip.TERMS, "text_encoder_2": clip.TERMS},
        itemsize=2,  # whatever its files hold
        releases=RELEASES,
        small=SMALL,
        recipes={"sdxl": Recipe("SDXL base 1.0", _random, _notes)},
    ),
)
