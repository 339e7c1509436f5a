"""Config → untrained modules of diffusers and transformers, their schedule, their optimizers."""

from __future__ import annotations

import numpy as np
import torch
from diffusers import (
    AutoencoderKLCogVideoX,
    CogVideoXDDIMScheduler,
    CogVideoXPipeline,
    CogVideoXTransformer3DModel,
)
from diffusers.models.embeddings import get_3d_rotary_pos_embed
from torch import Tensor
from transformers import T5Config, T5EncoderModel, T5Tokenizer

from flowedit.pocket.world import CLASSES, GROUNDS, MOTIONS, SIZES, TINTS


def new_vae(config: dict) -> AutoencoderKLCogVideoX:
    """Return an untrained 8 x 8 x 4 autoencoder with 16 latent channels."""
    height, width = config["size"]
    return AutoencoderKLCogVideoX(
        down_block_types=("CogVideoXDownBlock3D",) * 4,
        up_block_types=("CogVideoXUpBlock3D",) * 4,
        block_out_channels=config["vae"]["channels"],
        layers_per_block=1,
        latent_channels=16,
        norm_num_groups=8,
        temporal_compression_ratio=4,
        sample_height=height,
        sample_width=width,
    )


def new_tokenizer() -> T5Tokenizer:
    """Return a tokenizer with a piece for every word of the world and, for other text, every character."""
    phrases = (*CLASSES, *GROUNDS.values(), *MOTIONS.values(), *SIZES, *TINTS, "a an and over nothing")
    words = sorted({word for phrase in phrases for word in phrase.split()})
    pieces = [(token, 0.0) for token in ("<pad>", "</s>", "<unk>")] + [(f"▁{word}", -2.0) for word in words]
    pieces += [("▁", -8.0)] + [(chr(code), -10.0) for code in range(33, 127)]
    return T5Tokenizer(vocab=pieces, extra_ids=0)


def tokenize(tokenizer: T5Tokenizer, prompts: list[str], config: dict) -> Tensor:
    """Return token ids (B, L), padded and cut as CogVideoXPipeline does."""
    length = config["text"]["length"]
    pad = {"padding": "max_length", "truncation": True, "max_length": length}
    return tokenizer(prompts, **pad, return_tensors="pt").input_ids


def new_flow(config: dict, tokenizer: T5Tokenizer) -> torch.nn.ModuleDict:
    """Return an untrained text encoder and transformer; every block starts as the identity."""
    text, flow, (height, width) = config["text"], config["flow"], config["size"]
    encoder = T5EncoderModel(
        T5Config(
            vocab_size=len(tokenizer),
            d_model=text["width"],
            d_kv=text["width"] // text["heads"],
            d_ff=2 * text["width"],
            num_layers=text["layers"],
            num_heads=text["heads"],
            feed_forward_proj="gated-gelu",
            dropout_rate=0.0,
            relative_attention_max_distance=32,
        )
    )
    transformer = CogVideoXTransformer3DModel(
        num_attention_heads=flow["heads"],
        attention_head_dim=flow["head_width"],
        time_embed_dim=flow["time_width"],
        text_embed_dim=text["width"],
        num_layers=flow["layers"],
        sample_width=width // 8,
        sample_height=height // 8,
        sample_frames=config["frames"],
        patch_size=flow["patch"],
        max_text_seq_length=text["length"],
        use_rotary_positional_embeddings=True,
    )
    zero = [block.norm1.linear for block in transformer.transformer_blocks]
    zero += [block.norm2.linear for block in transformer.transformer_blocks]
    for layer in (*zero, transformer.norm_out.linear, transformer.proj_out):
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    return torch.nn.ModuleDict({"text_encoder": encoder, "transformer": transformer})


def new_scheduler() -> CogVideoXDDIMScheduler:
    """Return CogVideoX's schedule: v-prediction with zero terminal SNR, trailing."""
    return CogVideoXDDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        snr_shift_scale=1.0,
        timestep_spacing="trailing",
    )


def rotary(config: dict, device: str) -> tuple[Tensor, Tensor]:
    """Return (cos, sin) of all tokens, each (tokens, head width)."""
    height, width = (side // 8 // config["flow"]["patch"] for side in config["size"])
    grid = ((0, 0), (height, width)), (height, width)
    head, frames = config["flow"]["head_width"], latent_frames(config)
    return get_3d_rotary_pos_embed(head, *grid, frames, device=torch.device(device))


def latent_frames(config: dict) -> int:
    """Return the frames of a latent."""
    return (config["frames"] - 1) // 4 + 1


def pipeline(
    vae: torch.nn.Module, model: torch.nn.ModuleDict, tokenizer: T5Tokenizer, scale: float
) -> CogVideoXPipeline:
    """Return diffusers' own CogVideoXPipeline over the modules."""
    vae.register_to_config(scaling_factor=scale)
    parts = {"text_encoder": model["text_encoder"], "transformer": model["transformer"]}
    pipe = CogVideoXPipeline(tokenizer=tokenizer, vae=vae, scheduler=new_scheduler(), **parts)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def generate(pipe: CogVideoXPipeline, prompt: str, config: dict, seed: int, steps: int = 20) -> np.ndarray:
    """Return frames uint8 (F, H, W, 3) made from noise."""
    height, width = config["size"]
    video = pipe(
        prompt,
        height=height,
        width=width,
        num_frames=config["frames"],
        num_inference_steps=steps,
        guidance_scale=4.0,
        max_sequence_length=config["text"]["length"],
        generator=torch.Generator().manual_seed(seed),
        output_type="np",
    ).frames[0]
    return np.rint(video * 255).astype(np.uint8)
