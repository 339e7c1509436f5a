"""Small checkpoints with random weights, in the layout of the hub's: for tests, and to try the machinery."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from flowedit.backbones.checkpoint import quiet
from flowedit.messages import InputError

if TYPE_CHECKING:
    from diffusers import CogVideoXDDIMScheduler
    from transformers import T5EncoderModel, T5Tokenizer

SampleSize = tuple[int, int]
"""The native latent (height, width)."""

PIECES = [
    "the",
    "ing",
    "ed",
    "er",
    "re",
    "on",
    "an",
    "at",
    "en",
    "es",
    "or",
    "al",
    "ar",
    "le",
    "ow",
    "ck",
    "th",
    "ch",
    "sh",
    "is",
    "of",
    "in",
    "and",
    "with",
    "dog",
    "fox",
    "cat",
    "panda",
]


@dataclass(frozen=True)
class Recipe:
    """What a random checkpoint looks like: the released model, its pipeline, and what flowedit.json adds."""

    model: str
    pipeline: Callable[[SampleSize], Any]
    notes: Callable[[SampleSize], dict[str, Any]] = lambda sample: {}


def save_random(folder: Path, kind: str = "2b", *, seed: int = 0, sample: SampleSize = (16, 24)) -> Path:
    """Write a checkpoint folder of about 1 MB that every loader reads and whose output is noise; returns the folder.

    Raises InputError for an unknown kind.
    """
    if kind not in KINDS:
        raise InputError(f"kind {kind!r} is not one of {', '.join(KINDS)}")
    shape = KINDS[kind]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        pipeline = shape.pipeline(sample)
    with quiet():
        pipeline.save_pretrained(folder, safe_serialization=True)
    about = f"random weights in the shape of {shape.model}; what it makes is noise"
    notes = {"trained": False, "about": about, **shape.notes(sample)}
    (folder / "flowedit.json").write_text(json.dumps(notes, indent=2) + "\n", encoding="utf-8")
    return folder


def tokenizer() -> "T5Tokenizer":
    """Letters, digits, punctuation and a few word pieces, so that words fall into several tokens."""
    from transformers import T5Tokenizer

    single = [chr(c) for c in range(33, 127)]
    vocab = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -3.0)]
    vocab += [(c, -4.0) for c in single] + [(p, -5.0) for p in PIECES] + [(f"▁{p}", -5.0) for p in PIECES]
    return T5Tokenizer(vocab=vocab, extra_ids=0)


def _cogvideox(
    sample: SampleSize, *, scaling: float = 0.7, snr_shift: float = 1.0, rotary: bool = True, patch_t: int | None = None
) -> Any:
    from diffusers import CogVideoXPipeline, CogVideoXTransformer3DModel

    encoder, vae = _text_encoder(), _vae(scaling)
    transformer: Any = CogVideoXTransformer3DModel(
        num_attention_heads=4, attention_head_dim=16, in_channels=4, out_channels=4, time_embed_dim=32,
        text_embed_dim=32, num_layers=3, sample_height=sample[0], sample_width=sample[1], sample_frames=9,
        patch_size=2, patch_size_t=patch_t, patch_bias=patch_t is None, max_text_seq_length=226,
        use_rotary_positional_embeddings=rotary,
    )  # fmt: skip
    return CogVideoXPipeline(
        tokenizer=tokenizer(), text_encoder=encoder, vae=vae, transformer=transformer.eval(),
        scheduler=_scheduler(snr_shift),
    )  # fmt: skip


def _wan(sample: SampleSize) -> Any:
    return _wan_of({"z_dim": 4, "latents_mean": [-0.2, 0.1, 0.3, -0.1], "latents_std": [0.8, 1.2, 0.5, 1.5]}, shift=3.0)


def _heeding(transformer: Any) -> None:
    for block in transformer.blocks:  # the few tokens of a prompt would drown among 512 keys of zeros
        block.attn2.norm_q.weight.data *= 8.0
        block.attn2.to_out[0].weight.data *= 8.0


def _wan_a14b(sample: SampleSize) -> Any:
    from diffusers import WanPipeline, WanTransformer3DModel

    made = _wan(sample)
    second: Any = WanTransformer3DModel.from_config(made.transformer.config)
    _heeding(second)
    return WanPipeline(**made.components | {"transformer_2": second.eval()}, boundary_ratio=0.875)


def _wan22(sample: SampleSize) -> Any:
    vae = {
        "z_dim": 6, "decoder_base_dim": 4, "is_residual": True, "in_channels": 12, "out_channels": 12,
        "patch_size": 2, "scale_factor_spatial": 16, "dim_mult": [1, 2, 2, 2],
        "latents_mean": [-0.2, 0.1, 0.3, -0.1, 0.2, 0.0], "latents_std": [0.8, 1.2, 0.5, 1.5, 0.9, 1.1],
    }  # fmt: skip
    return _wan_of(vae, shift=5.0, expand_timesteps=True)


def _wan_of(own: dict[str, Any], shift: float, **index: Any) -> Any:
    from diffusers import AutoencoderKLWan, UniPCMultistepScheduler, WanPipeline, WanTransformer3DModel
    from transformers import UMT5Config, UMT5EncoderModel

    reader = UMT5Config(
        vocab_size=len(tokenizer()), d_model=32, d_kv=16, d_ff=64, num_layers=1, num_heads=2, pad_token_id=0,
        eos_token_id=1,
    )  # fmt: skip
    vae: Any = AutoencoderKLWan(**{"base_dim": 8, "dim_mult": [1, 1, 1, 1], "num_res_blocks": 1, **own})
    channels = own["z_dim"]
    transformer: Any = WanTransformer3DModel(
        num_attention_heads=4, attention_head_dim=16, in_channels=channels, out_channels=channels, text_dim=32,
        freq_dim=32, ffn_dim=128, num_layers=3,
    )  # fmt: skip
    _heeding(transformer)
    scheduler = UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, num_train_timesteps=1000, flow_shift=shift
    )
    return WanPipeline(
        tokenizer=tokenizer(), text_encoder=UMT5EncoderModel(reader).eval(), vae=vae.eval(),
        transformer=transformer.eval(), scheduler=scheduler, **index,
    )  # fmt: skip


def _text_encoder() -> "T5EncoderModel":
    from transformers import T5Config, T5EncoderModel

    config = T5Config(
        vocab_size=len(tokenizer()), d_model=32, d_kv=16, d_ff=64, num_layers=1, num_heads=2, pad_token_id=0,
        eos_token_id=1,
    )  # fmt: skip
    return T5EncoderModel(config).eval()


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


def _cogvideox_2b(sample: SampleSize) -> Any:
    return _cogvideox(sample, scaling=1.15258426, snr_shift=3.0, rotary=False)


def _cogvideox_15(sample: SampleSize) -> Any:
    side = max(sample)  # a bound of the table of positions, as in the real one
    return _cogvideox((side, side), patch_t=2)


def _wan_notes(sample: SampleSize) -> dict[str, Any]:
    """What Wan's own files do not say."""
    return {"native_size": [8 * side for side in sample], "native_frames": 9}


def _wan22_notes(sample: SampleSize) -> dict[str, Any]:
    return {"native_size": [16 * side for side in sample], "native_frames": 9}


KINDS = {
    "2b": Recipe("CogVideoX 2b", _cogvideox_2b),
    "5b": Recipe("CogVideoX 5b", _cogvideox),
    "1.5": Recipe("CogVideoX 1.5", _cogvideox_15),
    "wan": Recipe("Wan 2.1", _wan, _wan_notes),
    "wan2.2": Recipe("Wan 2.2 5B", _wan22, _wan22_notes),
    "wan2.2-a14b": Recipe("Wan 2.2 A14B", _wan_a14b, _wan_notes),
}
"""Shaped like CogVideoX-2b (sincos positions), 5b (rotary), 1.5-5b (rotary, patches of two latent frames), and Wans."""
