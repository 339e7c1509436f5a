"""ModelScope and Zeroscope v2: the words of their released files, a small random one, shapes, memory and work."""

from typing import Any

from flowedit.backbones.coders.memory import image as coder
from flowedit.backbones.encoders import clip
from flowedit.backbones.sheet import (
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
from flowedit.backbones.unets import reckoned
from flowedit.types import BackboneSpec

PIPELINES = ("TextToVideoSDPipeline", "TextToVideoMSPipeline")
"""The class, and its name in the first release of diffusers that had it."""

UNET: Config = {
    "act_fn": "silu", "attention_head_dim": 64, "block_out_channels": [320, 640, 1280, 1280],
    "cross_attention_dim": 1024,
    "down_block_types": ["CrossAttnDownBlock3D", "CrossAttnDownBlock3D", "CrossAttnDownBlock3D", "DownBlock3D"],
    "downsample_padding": 1, "in_channels": 4, "layers_per_block": 2, "mid_block_scale_factor": 1, "norm_eps": 1e-05,
    "norm_num_groups": 32, "out_channels": 4, "sample_size": 32,
    "up_block_types": ["UpBlock3D", "CrossAttnUpBlock3D", "CrossAttnUpBlock3D", "CrossAttnUpBlock3D"],
}  # fmt: skip

VAE: Config = {
    "act_fn": "silu", "block_out_channels": [128, 256, 512, 512], "down_block_types": ["DownEncoderBlock2D"] * 4,
    "in_channels": 3, "latent_channels": 4, "layers_per_block": 2, "norm_num_groups": 32, "out_channels": 3,
    "sample_size": 512, "scaling_factor": 0.18215, "up_block_types": ["UpDecoderBlock2D"] * 4,
}  # fmt: skip

DDIM: Config = {
    "beta_end": 0.012, "beta_schedule": "scaled_linear", "beta_start": 0.00085, "clip_sample": False,
    "num_train_timesteps": 1000, "prediction_type": "epsilon", "set_alpha_to_one": False, "steps_offset": 1,
    "trained_betas": None,
}  # fmt: skip


def _release(diffusers: str, saved: str, **notes: Any) -> Release:
    return Release(
        PIPELINES[0], diffusers,
        {
            "unet": ReleasedPart("UNet3DConditionModel", UNET, saved),
            "vae": ReleasedPart("AutoencoderKL", VAE, saved),
            "text_encoder": ReleasedPart("CLIPTextModel", clip.HUGE, saved, library="transformers"),
        },
        ("DDIMScheduler", DDIM), {"tokenizer": clip.TOKENIZER}, notes=notes,
    )  # fmt: skip


RELEASES = {
    "modelscope-1.7b": _release("0.15.0.dev0", "float32"),
    "zeroscope-v2-576w": _release("0.17.0.dev0", "float16", native_size=(320, 576), native_frames=24),
    "zeroscope-v2-xl": _release("0.17.0.dev0", "float16", native_size=(576, 1024), native_frames=24),
}

SMALL: dict[str, Config] = {
    "UNet3DConditionModel": {
        "attention_head_dim": 8, "block_out_channels": [8, 16, 16, 16], "cross_attention_dim": 32,
        "layers_per_block": 1, "norm_num_groups": 4,
    },
    "AutoencoderKL": {"block_out_channels": [8, 8, 8, 8], "layers_per_block": 1, "norm_num_groups": 4},
    "CLIPTextModel": clip.SMALL,
}  # fmt: skip


# A small random checkpoint.


def _random(sample: SampleSize) -> Any:
    """Its attention to text is at three sizes, and strong."""
    from diffusers import AutoencoderKL, DDIMScheduler, TextToVideoSDPipeline, UNet3DConditionModel

    vae: Any = AutoencoderKL(
        block_out_channels=(8, 8, 8, 8), down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4, layers_per_block=1, latent_channels=4, norm_num_groups=4,
        sample_size=256, scaling_factor=0.18215,
    )  # fmt: skip
    unet: Any = UNet3DConditionModel(
        block_out_channels=(16, 32, 32),
        down_block_types=("CrossAttnDownBlock3D", "CrossAttnDownBlock3D", "DownBlock3D"),
        up_block_types=("UpBlock3D", "CrossAttnUpBlock3D", "CrossAttnUpBlock3D"), layers_per_block=1,
        cross_attention_dim=32, attention_head_dim=8, norm_num_groups=8,
    )  # fmt: skip
    for name, weight in unet.named_parameters():
        if ".attentions." in name and "attn2.to_" in name:  # the few tokens of a prompt would drown among 77
            weight.data *= 4.0
        if name.endswith("conv4.3.weight"):  # zeros until it is trained
            weight.data.normal_(0, 0.1)
    return TextToVideoSDPipeline(
        vae=vae.eval(), text_encoder=clip.random_text(), tokenizer=clip.tokenizer(), unet=unet.eval(),
        scheduler=DDIMScheduler(**DDIM),
    )  # fmt: skip


def _notes(sample: SampleSize) -> dict[str, Any]:
    """What its own files do not say."""
    return {"native_size": [8 * side for side in sample], "native_frames": 9}


# Shapes.

NATIVE, FRAMES = (256, 256), 16
"""(height, width) and frames that ModelScope was trained at; no file says how long."""

FPS = 8
"""At which diffusers writes its clips; no file says so."""


def scale_of(vae: Config) -> int:
    """Pixels a side of a latent site."""
    return int(2 ** (len(vae["block_out_channels"]) - 1))


def spec_of(config: Config, vae: Config, notes: Config) -> BackboneSpec:
    """The spec by its UNet and autoencoder; `notes` are of a release that its files do not tell from others.

    Sides halve at each of the UNet's levels without a rest. Name, notices and world are the caller's.
    """
    (height, width), scale = notes.get("native_size", NATIVE), scale_of(vae)
    return BackboneSpec(
        name="ModelScope",
        notices=(),
        trained=True,
        trained_frames=int(notes.get("native_frames", FRAMES)),
        fps=FPS,
        latent_size=(height // scale, width // scale),
        native_area=height * width,
        multiple=int(scale * 2 ** (len(config["block_out_channels"]) - 1)),
        frames_per_latent=1,
        strength_shift=STRENGTH_SHIFT,
    )


def _spec(drawn: Blueprint, notes: Config) -> BackboneSpec:
    return spec_of(drawn.denoiser, drawn.vae, notes)


def tile_of(vae: Config, size: tuple[int, int], decode: bool) -> tuple[int, int]:
    """Latent size of the autoencoder's own tiles, or of the whole where one tile holds it."""
    own = int(vae["sample_size"]) // scale_of(vae)
    return min(size[0], own), min(size[1], own)


SHEET = SHEETS.add(
    "modelscope",
    Sheet(
        pipelines=PIPELINES,
        signs=Signs(
            "ModelScope or Zeroscope",
            r"transformer_in|.*(temp_attentions|temp_convs)",
            r"(down|up)_blocks|mid_block",
        ),
        spec=_spec,
        denoiser=DenoiserTerms(
            patch=lambda _: (1, 1, 1),
            text_tokens=lambda _: reckoned.TEXT,
            parameters=reckoned.parameters,
            seen=lambda drawn, latent: drawn.tokens(latent),
            block=reckoned.held,
            beside=reckoned.beside,
            prompt=lambda drawn: int(drawn.denoiser["cross_attention_dim"]),
            widest=reckoned.widest,
            work=reckoned.work,
            places=lambda drawn, latent: 0.0,
            heads=lambda config: (
                config["block_out_channels"][0] // config["attention_head_dim"],
                config["attention_head_dim"],
            ),
            layers=reckoned.seeing,
            folder="unet",
        ),
        autoencoder=AutoencoderTerms(
            scale=scale_of,
            weights=coder.MEMORY.weights,
            peak=coder.MEMORY.peak,
            tile=tile_of,
            chunks=lambda drawn, latents, decode: (1, 0),
        ),
        encoders={"text_encoder": clip.TERMS},
        itemsize=2,  # whatever its files hold
        releases=RELEASES,
        small=SMALL,
        recipes={"modelscope": Recipe("ModelScope", _random, _notes)},
    ),
)
