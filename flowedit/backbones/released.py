"""The released checkpoints as they lie on the model hub: their own files' words, and folders of that layout.

What a file says was read in public copies (AUDIT.md names them). `save_released` writes the files of a release with
random weights, at its real size or small, so that what the hub holds can be opened without it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from flowedit.messages import InputError

if TYPE_CHECKING:  # what the files say is asked for where torch is not loaded
    import torch

Config = Mapping[str, Any]

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

T5: Config = {
    "architectures": ["T5EncoderModel"], "classifier_dropout": 0.0, "d_ff": 10240, "d_kv": 64, "d_model": 4096,
    "decoder_start_token_id": 0, "dense_act_fn": "gelu_new", "dropout_rate": 0.1, "eos_token_id": 1,
    "feed_forward_proj": "gated-gelu", "initializer_factor": 1.0, "is_encoder_decoder": True, "is_gated_act": True,
    "layer_norm_epsilon": 1e-06, "model_type": "t5", "num_decoder_layers": 24, "num_heads": 64, "num_layers": 24,
    "output_past": True, "pad_token_id": 0, "relative_attention_max_distance": 128,
    "relative_attention_num_buckets": 32, "tie_word_embeddings": False, "transformers_version": "4.44.2",
    "use_cache": True, "vocab_size": 32128,
}  # fmt: skip

UMT5: Config = {
    **T5, "architectures": ["UMT5EncoderModel"], "model_type": "umt5", "scalable_attention": True,
    "tokenizer_class": "T5Tokenizer", "transformers_version": "4.49.0", "vocab_size": 256384,
}  # fmt: skip

TRANSFORMER_WAN: Config = {
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


@dataclass(frozen=True)
class ReleasedPart:
    """A component with weights: its class, configuration, precision of the saved weights, and number of files."""

    kind: str
    config: Config
    saved: str
    files: int = 1

    @property
    def dtype(self) -> torch.dtype:
        """The precision, as torch knows it."""
        import torch

        kind: torch.dtype = getattr(torch, self.saved)
        return kind


@dataclass(frozen=True)
class Release:
    """A release: the version of diffusers that wrote it, its components, and the class and file of its scheduler."""

    pipeline: str
    diffusers: str
    transformer: ReleasedPart
    vae: ReleasedPart
    text_encoder: ReleasedPart
    scheduler: tuple[str, Config]
    second: ReleasedPart | None = None
    """A second transformer."""
    index: Config = field(default_factory=dict)
    """What its model_index.json says beside its components."""

    @property
    def parts(self) -> dict[str, ReleasedPart]:
        """The components with weights, by their folders."""
        second = {} if self.second is None else {"transformer_2": self.second}
        return {"transformer": self.transformer, **second, "vae": self.vae, "text_encoder": self.text_encoder}


def _cog(
    version: str, transformer: Config, vae: Config, schedule: Config, *, files: int, text: ReleasedPart
) -> Release:
    dtype = "float16" if transformer["num_layers"] == 30 else "bfloat16"
    return Release(
        "CogVideoXPipeline", version, ReleasedPart("CogVideoXTransformer3DModel", transformer, dtype, files),
        ReleasedPart("AutoencoderKLCogVideoX", vae, "float32"), text, ("CogVideoXDDIMScheduler", schedule),
    )  # fmt: skip


def _wan(
    transformer: Config, files: int, vae: Config = VAE_WAN, shift: float = 3.0, two: bool = False, **index: Any
) -> Release:
    network = ReleasedPart("WanTransformer3DModel", transformer, "float32", files)
    return Release(
        "WanPipeline", "0.35.0.dev0" if index else "0.33.0.dev0", network,
        ReleasedPart("AutoencoderKLWan", vae, "float32"),
        ReleasedPart("UMT5EncoderModel", UMT5, "float32", 5),
        ("UniPCMultistepScheduler", {**UNIPC, "flow_shift": shift}), network if two else None, index,
    )  # fmt: skip


_FIVE_B = {**TRANSFORMER_10, "num_attention_heads": 48, "num_layers": 42, "use_rotary_positional_embeddings": True}

RELEASES = {
    "cogvideox-2b": _cog(
        "0.30.0.dev0", TRANSFORMER_10, VAE_2B, {**DDIM, "snr_shift_scale": 3.0, "timestep_spacing": "linspace"},
        files=1, text=ReleasedPart("T5EncoderModel", T5, "float16", 2),
    ),
    "cogvideox-5b": _cog(
        "0.31.0.dev0", _FIVE_B, VAE_COG, DDIM, files=2, text=ReleasedPart("T5EncoderModel", T5, "bfloat16", 2)
    ),
    "cogvideox1.5-5b": _cog(
        "0.32.0.dev0",
        {
            **_FIVE_B, "ofs_embed_dim": None, "patch_bias": False, "patch_size_t": 2, "sample_frames": 81,
            "sample_height": 300, "sample_width": 300,
        },
        {**VAE_COG, "invert_scale_latents": True}, DDIM, files=3,
        text=ReleasedPart("T5EncoderModel", T5, "float32", 4),
    ),
    "wan2.1-t2v-1.3b": _wan(TRANSFORMER_WAN, 2),
    "wan2.1-t2v-14b": _wan({**TRANSFORMER_WAN, "ffn_dim": 13824, "num_attention_heads": 40, "num_layers": 40}, 12),
    "wan2.2-t2v-a14b": _wan(
        {**TRANSFORMER_WAN, "ffn_dim": 13824, "num_attention_heads": 40, "num_layers": 40}, 12, two=True,
        boundary_ratio=0.875, expand_timesteps=False,
    ),
    "wan2.2-ti2v-5b": _wan(
        {**TRANSFORMER_WAN, "ffn_dim": 14336, "in_channels": 48, "num_attention_heads": 24, "out_channels": 48},
        3, VAE_WAN22, 5.0, boundary_ratio=None, expand_timesteps=True,
    ),
}  # fmt: skip
"""By the names of conf/backbone."""

SMALL: Mapping[str, Config] = {
    "CogVideoXTransformer3DModel": {
        "attention_head_dim": 16, "num_attention_heads": 2, "num_layers": 2, "text_embed_dim": 32, "time_embed_dim": 32,
    },
    "AutoencoderKLCogVideoX": {"block_out_channels": [8, 8, 8, 8], "layers_per_block": 1, "norm_num_groups": 2},
    "T5EncoderModel": {"d_ff": 64, "d_kv": 16, "d_model": 32, "num_heads": 2, "num_layers": 2, "vocab_size": 512},
    "WanTransformer3DModel": {
        "attention_head_dim": 16, "ffn_dim": 64, "freq_dim": 32, "num_attention_heads": 2, "num_layers": 2,
        "text_dim": 32,
    },
    "AutoencoderKLWan": {"base_dim": 8, "dim_mult": [1, 1, 1, 1], "num_res_blocks": 1},
    "UMT5EncoderModel": {"d_ff": 64, "d_kv": 16, "d_model": 32, "num_heads": 2, "num_layers": 2, "vocab_size": 512},
}  # fmt: skip
"""What makes a class small; what a checkpoint's geometry follows from stays as released."""

TEXT = "a fox runs over green grass and a panda walks in the snow while the red car drives along the road "


def save_released(
    folder: Path,
    name: str,
    *,
    small: bool = False,
    text_layers: int | None = None,
    changes: Mapping[str, Config] = MappingProxyType({}),
) -> Path:
    """Write the files of a release, with random weights, in the layout of the hub's; returns the folder.

    At its real size that is as much disk as the release, and the memory of one file of it; `text_layers` cuts the text
    encoder, its largest part. A small one is about 1 MB. `changes` to a component's configuration, by its folder, come
    on top. It says nothing of being random, as the hub's does not. Raises InputError for an unknown name.
    """
    if name not in RELEASES:
        raise InputError(f"release {name!r} is not one of {', '.join(RELEASES)}")
    import torch

    release, generator = RELEASES[name], torch.Generator().manual_seed(0)
    save_words(folder, release)
    for component, part in release.parts.items():
        config = {**part.config, **(SMALL[part.kind] if small else {}), **changes.get(component, {})}
        if component == "text_encoder" and text_layers is not None:
            config["num_layers"] = text_layers
        _write(folder / component / "config.json", _words(release, part) | config)
        _weights(folder / component, part, config, generator)
    return folder


def save_words(folder: Path, release: Release) -> None:
    """Write all files of a release but the weights."""
    tokenizer = "T5Tokenizer" if release.pipeline.startswith("Cog") else "T5TokenizerFast"
    index = {
        "_class_name": release.pipeline,
        "_diffusers_version": release.diffusers,
        **release.index,
        "scheduler": ["diffusers", release.scheduler[0]],
        "tokenizer": ["transformers", tokenizer],
        **{component: [_library(part.kind), part.kind] for component, part in release.parts.items()},
    }
    _write(folder / "model_index.json", index)
    schedule = {"_class_name": release.scheduler[0], "_diffusers_version": release.diffusers, **release.scheduler[1]}
    _write(folder / "scheduler" / "scheduler_config.json", schedule)
    _tokenizer(folder / "tokenizer", umt5=release.text_encoder.kind.startswith("UMT5"))
    for component, part in release.parts.items():
        _write(folder / component / "config.json", _words(release, part) | dict(part.config))


def _words(release: Release, part: ReleasedPart) -> dict[str, Any]:
    """What diffusers adds to a configuration of its own classes."""
    if _library(part.kind) != "diffusers":
        return {}
    return {"_class_name": part.kind, "_diffusers_version": release.diffusers}


def network(part: ReleasedPart, config: Config | None = None) -> Any:
    """A component's network without memory for its weights, on the device "meta"."""
    import diffusers
    import torch
    import transformers

    from flowedit.backbones.checkpoint import quiet

    config = part.config if config is None else config
    with torch.device("meta"), quiet():  # of keys of an older diffusers
        if _library(part.kind) == "diffusers":
            return getattr(diffusers, part.kind).from_config(dict(config))
        cls = getattr(transformers, part.kind)
        return cls(cls.config_class(**config))


def _library(kind: str) -> str:
    return "transformers" if kind.endswith("EncoderModel") else "diffusers"


def _weights(folder: Path, part: ReleasedPart, config: Config, generator: torch.Generator) -> None:
    """The weights in as many files as the release has, and their index; one file's tensors in memory at a time."""
    from safetensors.torch import save_file

    stem = "model" if _library(part.kind) == "transformers" else "diffusion_pytorch_model"
    tensors = {key: value for key, value in network(part, config).state_dict().items() if _kept(key)}
    groups = list(_shares(list(tensors), part.files))
    names = [f"{stem}-{i:05}-of-{len(groups):05}.safetensors" for i in range(1, len(groups) + 1)]
    for file, keys in zip(names if len(groups) > 1 else [f"{stem}.safetensors"], groups, strict=True):
        values = {key: _random(key, tensors[key].shape, generator).to(part.dtype) for key in keys}
        save_file(values, folder / file, metadata={"format": "pt"})
    if len(groups) > 1:
        size = sum(value.numel() for value in tensors.values()) * part.dtype.itemsize
        weight_map = {key: file for file, keys in zip(names, groups, strict=True) for key in keys}
        _write(folder / f"{stem}.safetensors.index.json", {"metadata": {"total_size": size}, "weight_map": weight_map})


def _kept(key: str) -> bool:
    """Whether a release's files hold it: of the text encoder's embedding, one of its two names, and no fixed tables."""
    return key != "encoder.embed_tokens.weight" and "pos_embedding" not in key and not key.startswith("rope.")


def _random(key: str, shape: torch.Size, generator: torch.Generator) -> torch.Tensor:
    import torch

    if len(shape) == 1:
        return torch.ones(shape) if key.endswith("weight") else torch.zeros(shape)
    return 0.02 * torch.randn(shape, generator=generator)


def _shares(keys: list[str], count: int) -> Iterator[list[str]]:
    for i in range(count):
        yield keys[len(keys) * i // count : len(keys) * (i + 1) // count]


def _tokenizer(folder: Path, umt5: bool) -> None:
    """A sentencepiece model as `spiece.model` alone, as CogVideoX's, or with the names of UMT5's special pieces."""
    import io

    import sentencepiece

    folder.mkdir(parents=True, exist_ok=True)
    special: dict[str, Any] = {"pad_id": 0, "eos_id": 1, "unk_id": 3 if umt5 else 2, "bos_id": 2 if umt5 else -1}
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([TEXT + chr(32).join(map(chr, range(33, 127)))] * 20), model_writer=model,
        vocab_size=200, hard_vocab_limit=False, character_coverage=1.0, minloglevel=2, **special,
    )  # fmt: skip
    (folder / "spiece.model").write_bytes(model.getvalue())
    extra = [f"<extra_id_{i}>" for i in range(100)] if not umt5 else [f"<extra_id_{i}>" for i in range(300)]
    names = {"eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    _write(folder / "special_tokens_map.json", {**names, "additional_special_tokens": extra})
    config = {**names, "additional_special_tokens": extra, "extra_ids": len(extra), "model_max_length": 226}
    _write(folder / "tokenizer_config.json", {**config, "legacy": True, "tokenizer_class": "T5Tokenizer"})


def _write(path: Path, values: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
