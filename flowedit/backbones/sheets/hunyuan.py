"""HunyuanVideo: the words of its released files, small random ones, shapes, memory and work."""

from functools import partial
from typing import Any

from flowedit.backbones.coders.memory import hunyuan as coder
from flowedit.backbones.encoders import clip, llama
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
    ReleasedTokenizer,
    SampleSize,
    Sheet,
    Signs,
)
from flowedit.types import BackboneSpec

TRANSFORMER: Config = {
    "attention_head_dim": 128, "guidance_embeds": True, "in_channels": 16, "mlp_ratio": 4.0,
    "num_attention_heads": 24, "num_layers": 20, "num_refiner_layers": 2, "num_single_layers": 40, "out_channels": 16,
    "patch_size": 2, "patch_size_t": 1, "pooled_projection_dim": 768, "qk_norm": "rms_norm",
    "rope_axes_dim": [16, 56, 56], "rope_theta": 256.0, "text_embed_dim": 4096,
}  # fmt: skip

VAE: Config = {
    "act_fn": "silu", "block_out_channels": [128, 256, 512, 512], "down_block_types": ["HunyuanVideoDownBlock3D"] * 4,
    "in_channels": 3, "latent_channels": 16, "layers_per_block": 2, "mid_block_add_attention": True,
    "norm_num_groups": 32, "out_channels": 3, "scaling_factor": 0.476986, "spatial_compression_ratio": 8,
    "temporal_compression_ratio": 4, "up_block_types": ["HunyuanVideoUpBlock3D"] * 4,
}  # fmt: skip

SCHEDULE: Config = {
    "base_image_seq_len": 256, "base_shift": 0.5, "invert_sigmas": False, "max_image_seq_len": 4096,
    "max_shift": 1.15, "num_train_timesteps": 1000, "shift": 7.0, "shift_terminal": None, "use_beta_sigmas": False,
    "use_dynamic_shifting": False, "use_exponential_sigmas": False, "use_karras_sigmas": False,
}  # fmt: skip

TEMPLATE = (
    "<|start_header_id|>system<|end_header_id|>\n\n"
    "Describe the video by detailing the following aspects: "
    "1. The main content and theme of the video."
    "2. The color, shape, size, texture, quantity, text, and spatial relationships of the objects."
    "3. Actions, events, behaviors temporal relationships, physical movement changes of the objects."
    "4. background environment, light, style and atmosphere."
    "5. camera angles, movements, and transitions used in the video:<|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\n{}<|eot_id|>"
)
"""What a prompt is put into, in the place of {}, before Llama reads it."""

SKIPPED = 95
"""Tokens of the template in front of the prompt, the start token among them."""

RELEASE = Release(
    "HunyuanVideoPipeline", "0.32.0.dev0",
    {
        "transformer": ReleasedPart("HunyuanVideoTransformer3DModel", TRANSFORMER, "bfloat16", 6),
        "vae": ReleasedPart("AutoencoderKLHunyuanVideo", VAE, "float16"),
        "text_encoder": llama.part("float16", 4),
        "text_encoder_2": clip.part("float16"),
    },
    ("FlowMatchEulerDiscreteScheduler", SCHEDULE),
    {
        "tokenizer": ReleasedTokenizer("LlamaTokenizerFast", partial(llama.write, TEMPLATE, SKIPPED)),
        "tokenizer_2": clip.TOKENIZER,
    },
)  # fmt: skip

SMALL: dict[str, Config] = {
    "HunyuanVideoTransformer3DModel": {
        "attention_head_dim": 16, "num_attention_heads": 2, "num_layers": 2, "num_refiner_layers": 1,
        "num_single_layers": 2, "pooled_projection_dim": 32, "rope_axes_dim": [4, 6, 6], "text_embed_dim": 32,
    },
    "AutoencoderKLHunyuanVideo": {
        "block_out_channels": [8, 8, 8, 8], "layers_per_block": 1, "norm_num_groups": 2,
    },
    "LlamaModel": llama.SMALL,
    "CLIPTextModel": clip.SMALL,
}  # fmt: skip


# Small random checkpoints.


def _random(sample: SampleSize, **own: Any) -> Any:
    from diffusers import (
        AutoencoderKLHunyuanVideo,
        FlowMatchEulerDiscreteScheduler,
        HunyuanVideoPipeline,
        HunyuanVideoTransformer3DModel,
    )

    vae: Any = AutoencoderKLHunyuanVideo(
        latent_channels=4, block_out_channels=(8, 8, 8, 8), layers_per_block=1, norm_num_groups=2
    )
    transformer: Any = HunyuanVideoTransformer3DModel(
        **{
            **SMALL["HunyuanVideoTransformer3DModel"], "in_channels": 4, "out_channels": 4, "num_attention_heads": 4,
            "rope_axes_dim": (4, 6, 6), **own,
        }
    )  # fmt: skip
    for block in transformer.transformer_blocks:
        block.attn.norm_added_k.weight.data *= 4.0
        block.attn.to_out[0].weight.data *= 2.0
    words = llama.tokenizer(TEMPLATE, SKIPPED)
    return HunyuanVideoPipeline(
        tokenizer=words, text_encoder=llama.random_llama(len(words)), tokenizer_2=clip.tokenizer(),
        text_encoder_2=clip.random_text(), vae=vae.eval(), transformer=transformer.eval(),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=7.0),
    )  # fmt: skip


def _random_free(sample: SampleSize) -> Any:
    return _random(sample, guidance_embeds=False)


def _notes(sample: SampleSize) -> dict[str, Any]:
    """What no file of a HunyuanVideo says."""
    return {"native_size": [8 * side for side in sample], "native_frames": 9}


# Shapes.

NATIVE, FRAMES, FPS = (720, 1280), 129, 24
"""(height, width), length and rate of the clips that it makes; no file says so."""

STEP = 4
"""Frames of a latent frame after the first."""


def spec_of(config: Config, vae: Config, notes: Config) -> BackboneSpec:
    """The spec of a HunyuanVideo by its transformer and autoencoder; `notes` are of a small one of ours.

    Name, notices, shift and world are the caller's.
    """
    scale = _scale(vae)
    height, width = notes.get("native_size", NATIVE)
    return BackboneSpec(
        name="HunyuanVideo",
        notices=(),
        trained=True,
        trained_frames=int(notes.get("native_frames", FRAMES)),
        fps=FPS,
        latent_size=(height // scale, width // scale),
        native_area=height * width,
        multiple=scale * config["patch_size"],
        frames_per_latent=int(vae.get("temporal_compression_ratio", STEP)),
        trained_step=STEP,
        strength_shift=STRENGTH_SHIFT,
        guidance="embedded" if config.get("guidance_embeds", True) else "free",
    )


def _spec(drawn: Blueprint, notes: Config) -> BackboneSpec:
    return spec_of(drawn.denoiser, drawn.vae, notes)


# Memory and work.

TEXT = 256
"""Tokens of text that it sees, the closing one among them, those of the template left out."""

WIDEST, TURNED = 9.5, 4
"""Sizes of its input that a block of one stream holds: a feed-forward beside attention, and their join; and copies of
the queries that are turned, in float32.
"""


def _scale(vae: Config) -> int:
    return int(vae.get("spatial_compression_ratio", 8))


def _patch(config: Config) -> tuple[int, int, int]:
    return int(config["patch_size_t"]), int(config["patch_size"]), int(config["patch_size"])


def _parameters(drawn: Blueprint) -> tuple[float, float, float]:
    """Blocks of two streams weigh 36 D^2, those of one 15 D^2: counted as so many of the larger, a broken number."""
    config, d, head = drawn.denoiser, drawn.width, drawn.heads[1]
    square, said, sites = d * d + d, config["text_embed_dim"], config["patch_size_t"] * config["patch_size"] ** 2
    both = 20 * square + 4 * head + 2 * (8 * d * d + 5 * d)
    one = 6 * square + 2 * head + (d + 1) * 4 * d + 5 * d * d + d
    refiner = config["num_refiner_layers"] * (4 * d + 6 * square + 8 * d * d + 5 * d)
    time = 257 * d + square
    rest = config["in_channels"] * sites * d + d + time + (said + 1) * d + square + (said + 1) * d + refiner
    rest += time * (2 if config.get("guidance_embeds", True) else 1)
    rest += (config["pooled_projection_dim"] + 1) * d + square
    rest += 2 * square + (d + 1) * sites * config["out_channels"]
    count = config["num_layers"] + config["num_single_layers"] * one / both
    whole = rest + config["num_layers"] * both + config["num_single_layers"] * one
    return whole - both * count, both, count


def _seen(drawn: Blueprint, latent: Latent) -> int:
    return drawn.tokens(latent) + TEXT


def _block(drawn: Blueprint, latent: Latent, itemsize: int) -> float:
    return max(13.0, WIDEST + TURNED * FLOAT / itemsize) * _seen(drawn, latent) * drawn.width


def _work(drawn: Blueprint, latent: Latent) -> float:
    """Of blocks of width D on N tokens of video and text, 24 D^2 N + 4 D N^2 each, alike in both kinds."""
    d, n = drawn.width, _seen(drawn, latent)
    return float(drawn.layers * (24 * d * d * n + 4 * d * n * n))


def _tile(vae: Config, size: tuple[int, int], decode: bool) -> tuple[int, int]:
    own = 256 // _scale(vae)
    return min(size[0], own), min(size[1], own)


CHUNK = 16
"""Frames of a chunk after its first."""


def _chunks(drawn: Blueprint, latents: int, decode: bool) -> tuple[int, int]:
    frames = min(1 + CHUNK, 1 + STEP * (latents - 1))
    return (1 + (frames - 1) // STEP if decode else frames), 0


SHEET = SHEETS.add(
    "hunyuan",
    Sheet(
        pipelines=("HunyuanVideoPipeline",),
        signs=Signs(
            "HunyuanVideo",
            r"(context_embedder|txt_in)[._].*token_refiner|double_blocks\.\d+\.img_attn_",
            r"single_transformer_blocks|double_blocks|single_blocks",
            {3072: "HunyuanVideo"},
        ),
        spec=_spec,
        denoiser=DenoiserTerms(
            patch=_patch,
            text_tokens=lambda _: TEXT,
            parameters=_parameters,
            seen=_seen,
            block=_block,
            prompt=lambda drawn: int(drawn.denoiser["text_embed_dim"]) + drawn.width,
            widest=lambda drawn: 6 * drawn.width**2,
            work=_work,
            layers=lambda config: int(config["num_layers"]) + int(config["num_single_layers"]),
        ),
        autoencoder=AutoencoderTerms(
            scale=_scale,
            weights=coder.MEMORY.weights,
            peak=coder.MEMORY.peak,
            tile=_tile,
            chunks=_chunks,
        ),
        encoders={"text_encoder": llama.TERMS, "text_encoder_2": clip.TERMS},
        reads={"text_encoder": SKIPPED + TEXT, "text_encoder_2": 77},
        releases={"hunyuan-video": RELEASE},
        small=SMALL,
        recipes={
            "hunyuan": Recipe("HunyuanVideo", _random, _notes),
            "hunyuan-free": Recipe("HunyuanVideo without embedded guidance", _random_free, _notes),
        },
    ),
)
