"""Videos and masks as diffusers has them, to arrays of flowedit and back."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from diffusers.video_processor import VideoProcessor

from flowedit.messages import InputError, first_line

OUTPUTS = ("pil", "np", "pt", "latent")

EXPECTED = "a list of PIL images, an array (frames, height, width, 3) or a tensor (frames, 3, height, width)"


def frames_of(video: Any) -> np.ndarray:
    """One clip, as `VideoProcessor` takes it, to frames uint8 (F, H, W, 3); an array of uint8 stays as it is.

    Values are in [0, 1], those of a tensor or an array that has negative ones in [-1, 1]. Nothing is resized. Raises
    InputError for what is no clip, and for several.
    """
    if isinstance(video, (str, os.PathLike)):
        raise InputError("video is a path: give frames, such as diffusers.utils.load_video(path)")
    if isinstance(video, np.ndarray) and video.dtype == np.uint8:
        clips = video[None] if video.ndim == 4 else video
    else:
        try:
            processor = VideoProcessor(do_resize=False, do_convert_rgb=True)
            x = processor.preprocess_video(list(video) if isinstance(video, tuple) else video)
        except (ValueError, TypeError, IndexError, AttributeError, RuntimeError) as error:
            raise InputError(f"video cannot be read: give {EXPECTED} ({first_line(error)})") from error
        levels = ((x.float().cpu() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
        clips = levels.permute(0, 2, 3, 4, 1).numpy()
    if clips.ndim != 5 or clips.shape[-1] != 3:
        raise InputError(f"video has the shape {np.shape(video)}: give {EXPECTED}")
    if len(clips) != 1:
        raise InputError(f"video holds {len(clips)} clips: give one, as one clip is edited at a time")
    return np.ascontiguousarray(clips[0])


def mask_of(mask: Any, name: str) -> Any:
    """A mask as diffusers has it, white is edited, to an array (F, H, W) or (H, W); a path stays one.

    A PIL image or a list of them; an array or a tensor (H, W) or (F, H, W), or with channels: of an array the last
    axis, of a tensor the one before the height. Raises InputError for another shape.
    """
    if isinstance(mask, (str, os.PathLike)):
        return mask
    if isinstance(mask, torch.Tensor):
        array = mask.detach().float().cpu().numpy() if mask.is_floating_point() else mask.cpu().numpy()
        array = np.moveaxis(array, -3, -1) if array.ndim > 3 else array
    elif hasattr(mask, "convert"):
        array = np.asarray(mask.convert("L"))
    elif isinstance(mask, Sequence) and all(hasattr(each, "convert") for each in mask):
        array = np.stack([np.asarray(each.convert("L")) for each in mask])
    else:
        array = np.asarray(mask)
    array = array[0] if array.ndim == 5 and len(array) == 1 else array
    if array.ndim == 4 and array.shape[-1] in (1, 3):
        array = array.max(-1)
    if array.ndim not in (2, 3) or array.dtype == object:
        raise InputError(f"{name} has the shape {array.shape}: give images, (height, width) or (frames, height, width)")
    return array


def shown_as(frames: np.ndarray, output_type: str) -> Any:
    """Frames uint8 (F, H, W, 3) as a batch of one in [0, 1]: "np" (1, F, H, W, 3), "pt" (1, F, 3, H, W), or "pil"."""
    x = torch.from_numpy(frames).permute(3, 0, 1, 2)[None].float() / 127.5 - 1
    return VideoProcessor().postprocess_video(x, output_type)
