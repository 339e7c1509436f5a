"""Names that a key had before, and names that other programs give it; nothing heavy is imported here."""

from collections.abc import Iterable

from flowedit.messages import nearest

RENAMED = {"guidance": "averaging", "video": "clip"}
"""Old names of keys, and the new ones that they are taken for, with a notice."""

REPLACED = {
    "mode.guidance_interval": "mode.guidance_interval, in shares of the steps, is guidance_interval now, of every mode "
    "and in times, 0 the clip and 1 noise: write guidance_interval=0.3,0.9",
}
"""Old whole keys whose values meant another thing than those of the key that took their place, and what to type."""

ELSEWHERE = {
    "prompt": "target",
    "target_prompt": "target",
    "edit_prompt": "target",
    "source_prompt": "source",
    "num_inference_steps": "steps",
    "num_steps": "steps",
    "guidance_scale": "target_guidance_scale",
    "cfg": "target_guidance_scale",
    "cfg_scale": "target_guidance_scale",
    "num_frames": "frames",
    "max_frames": "frames",
    "height": "size",
    "width": "size",
    "resolution": "size",
    "frame_rate": "fps",
    "model": "backbone",
    "model_id": "backbone",
    "checkpoint": "backbone",
    "pipeline": "backbone",
    "method": "mode",
    "input": "clip",
    "output": "out",
    "output_dir": "out",
    "output_path": "out",
    "noise_strength": "strength",
    "denoising_strength": "strength",
    "generator": "seed",
    "device": "runtime.device",
    "dtype": "runtime.dtype",
    "torch_dtype": "runtime.dtype",
    "precision": "runtime.dtype",
    "threads": "runtime.threads",
    "cache": "runtime.cache",
    "mask_path": "user_mask",
    "mask_file": "user_mask",
}
"""What diffusers and other editors call a key, and what it is called here."""


def meant(key: str, known: Iterable[str] = ()) -> str:
    """What to add to a complaint about an unknown key: the name that it has here, the nearest one, or nothing."""
    here = ELSEWHERE.get(key.replace("-", "_"))
    return f"; here it is called {here}" if here is not None else nearest(key, known)
