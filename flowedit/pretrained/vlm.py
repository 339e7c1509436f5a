"""A vision-language model that answers questions about a few frames (Qwen2.5-VL; Bai et al. 2025)."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForImageTextToText, AutoProcessor

from flowedit.pretrained import hub

FRAMES_PER_SECOND = 2.0

PIXELS = {"shortest_edge": 128 * 28 * 28, "longest_edge": 768 * 28 * 28}
"""The rate that the frames are said to have, and the least and most pixels of one: as Qwen's own reader has them."""

LONGEST = 16
"""Tokens of an answer, where a word is asked for."""

Ask = Callable[[np.ndarray, str], str]
"""ask(frames, question): uint8 (n, H, W, 3) RGB, n even as the model takes frames in pairs, to its answer."""


@cache
def load(device: torch.device, place: str | Path = "Qwen/Qwen2.5-VL-7B-Instruct") -> Ask:
    """As `load_anew`, for answers of a word; held as long as the process lasts."""
    return load_anew(device, place)


def load_anew(device: torch.device, place: str | Path, longest: int = LONGEST) -> Ask:
    """The model of a name on the hub (16.6 GB) or of a folder, greedy, in bfloat16 on a GPU, else float32.

    An answer has at most `longest` tokens. The model is gone when nobody holds what is returned. Raises as
    `hub.model` does.
    """
    dtype = torch.float32 if device.type == "cpu" else torch.bfloat16
    processor = hub.processor(AutoProcessor, place)
    model = hub.model(AutoModelForImageTextToText, place, {"dtype": dtype, "trust_remote_code": False}).to(device)
    return lambda frames, question: _answer(model, processor, frames, question, longest)


@hub.quiet()
@torch.no_grad()
def _answer(model: Any, processor: Any, frames: np.ndarray, question: str, longest: int) -> str:
    said = [{"role": "user", "content": [{"type": "video"}, {"type": "text", "text": question}]}]
    prompt = processor.apply_chat_template(said, tokenize=False, add_generation_prompt=True)
    count = len(frames)
    video = {"total_num_frames": count, "fps": FRAMES_PER_SECOND, "frames_indices": list(range(count))}
    inputs = processor(
        text=[prompt],
        videos=[torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2)],
        video_metadata=[video],
        do_sample_frames=False,
        size=PIXELS,
        return_tensors="pt",
    ).to(model.device, model.dtype)
    tokens = model.generate(**inputs, do_sample=False, max_new_tokens=longest)
    return str(processor.batch_decode(tokens[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)[0]).strip()
