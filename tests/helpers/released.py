"""The configurations of the released checkpoints, as their files hold them, without weights."""

import json

SCHEDULE = {
    "_class_name": "CogVideoXDDIMScheduler", "beta_end": 0.012, "beta_schedule": "scaled_linear", "beta_start": 0.00085,
    "clip_sample": False, "num_train_timesteps": 1000, "prediction_type": "v_prediction",
    "rescale_betas_zero_snr": True, "sample_max_value": 1.0, "set_alpha_to_one": True, "snr_shift_scale": 1.0,
    "steps_offset": 0, "timestep_spacing": "trailing",
}  # fmt: skip
COGVIDEOX = {
    "_class_name": "CogVideoXTransformer3DModel", "activation_fn": "gelu-approximate", "attention_bias": True,
    "attention_head_dim": 64, "dropout": 0.0, "flip_sin_to_cos": True, "freq_shift": 0, "in_channels": 16,
    "max_text_seq_length": 226, "norm_elementwise_affine": True, "norm_eps": 1e-05, "num_attention_heads": 48,
    "num_layers": 42, "out_channels": 16, "patch_size": 2, "sample_frames": 49, "sample_height": 60,
    "sample_width": 90, "spatial_interpolation_scale": 1.875, "temporal_compression_ratio": 4,
    "temporal_interpolation_scale": 1.0, "text_embed_dim": 4096, "time_embed_dim": 512,
    "timestep_activation_fn": "silu", "use_rotary_positional_embeddings": True,
}  # fmt: skip
COGVIDEOX_VAE = {
    "_class_name": "AutoencoderKLCogVideoX", "act_fn": "silu", "block_out_channels": [128, 256, 256, 512],
    "down_block_types": ["CogVideoXDownBlock3D"] * 4, "force_upcast": True, "in_channels": 3, "latent_channels": 16,
    "latents_mean": None, "latents_std": None, "layers_per_block": 3, "norm_eps": 1e-06, "norm_num_groups": 32,
    "out_channels": 3, "sample_height": 480, "sample_width": 720, "scaling_factor": 0.7, "shift_factor": None,
    "temporal_compression_ratio": 4, "up_block_types": ["CogVideoXUpBlock3D"] * 4, "use_post_quant_conv": False,
    "use_quant_conv": False,
}  # fmt: skip
T5 = {
    "architectures": ["T5EncoderModel"], "d_ff": 10240, "d_kv": 64, "d_model": 4096, "dropout_rate": 0.1,
    "feed_forward_proj": "gated-gelu", "layer_norm_epsilon": 1e-06, "model_type": "t5", "num_heads": 64,
    "num_layers": 24, "relative_attention_max_distance": 128, "relative_attention_num_buckets": 32,
    "tie_word_embeddings": False, "vocab_size": 32128,
}  # fmt: skip
WAN = {
    "_class_name": "WanTransformer3DModel", "added_kv_proj_dim": None, "attention_head_dim": 128,
    "cross_attn_norm": True, "eps": 1e-06, "ffn_dim": 8960, "freq_dim": 256, "image_dim": None, "in_channels": 16,
    "num_attention_heads": 12, "num_layers": 30, "out_channels": 16, "patch_size": [1, 2, 2],
    "qk_norm": "rms_norm_across_heads", "rope_max_seq_len": 1024, "text_dim": 4096,
}  # fmt: skip
WAN_VAE = {
    "_class_name": "AutoencoderKLWan", "attn_scales": [], "base_dim": 96, "dim_mult": [1, 2, 4, 4], "dropout": 0.0,
    "latents_mean": [
        -0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508, 0.4134, -0.0715, 0.5517, -0.3632, -0.1922,
        -0.9497, 0.2503, -0.2921,
    ],
    "latents_std": [
        2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743, 3.2687, 2.1526, 2.8652, 1.5579, 1.6382, 1.1253,
        2.8251, 1.916,
    ],
    "num_res_blocks": 2, "temperal_downsample": [False, True, True], "z_dim": 16,
}  # fmt: skip
UNIPC = {
    "_class_name": "UniPCMultistepScheduler", "flow_shift": 3.0, "num_train_timesteps": 1000,
    "prediction_type": "flow_prediction", "use_flow_sigmas": True,
}  # fmt: skip
UMT5 = T5 | {"architectures": ["UMT5EncoderModel"], "model_type": "umt5", "vocab_size": 256384}


def _cogvideox(transformer, vae, schedule):
    index = {"_class_name": "CogVideoXPipeline"}
    return {"": index, "transformer": COGVIDEOX | transformer, "vae": COGVIDEOX_VAE | vae, "text_encoder": T5,
            "scheduler": SCHEDULE | schedule}  # fmt: skip


def _wan(transformer):
    index = {"_class_name": "WanPipeline"}
    return {"": index, "transformer": WAN | transformer, "vae": WAN_VAE, "text_encoder": UMT5, "scheduler": UNIPC}


RELEASED = {
    # The 2b's autoencoder keeps two keys of an older diffusers, which warns of them.
    "cogvideox-2b": _cogvideox(
        {"num_attention_heads": 30, "num_layers": 30, "use_rotary_positional_embeddings": False},
        {"scaling_factor": 1.15258426, "mid_block_add_attention": True, "sample_size": 256},
        {"snr_shift_scale": 3.0, "timestep_spacing": "linspace"},
    ),
    "cogvideox-5b": _cogvideox({}, {}, {}),
    "cogvideox1.5-5b": _cogvideox(
        {"patch_size_t": 2, "patch_bias": False, "sample_frames": 81, "sample_height": 300, "sample_width": 300,
         "ofs_embed_dim": None, "use_learned_positional_embeddings": False},
        {"invert_scale_latents": True},
        {},
    ),
    "wan2.1-t2v-1.3b": _wan({}),
    "wan2.1-t2v-14b": _wan({"ffn_dim": 13824, "num_attention_heads": 40, "num_layers": 40}),
}  # fmt: skip
"""Of each name of conf/backbone, the JSON of model_index ("") and of each component."""

SAVED = {"cogvideox-2b": "float16", "cogvideox-5b": "bfloat16", "cogvideox1.5-5b": "bfloat16"}
"""The precision that a transformer lies on the hub in; Wan's in float32."""


def write_configurations(folder, name, layers=None):
    """The checkpoint's folder with its JSON files alone; its networks cut to so many layers, if told so."""
    for part, values in RELEASED[name].items():
        if part in ("transformer", "text_encoder") and layers is not None:
            values = values | {"num_layers": layers}
        (folder / part).mkdir(parents=True, exist_ok=True)
        file = {"": "model_index.json", "scheduler": "scheduler_config.json"}.get(part, "config.json")
        (folder / part / file).write_text(json.dumps(values))
    return folder
