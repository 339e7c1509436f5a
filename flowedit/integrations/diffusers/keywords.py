"""The keywords of a pipeline of diffusers, and the options of flowedit that they are."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from flowedit.integrations.diffusers.frames import mask_of
from flowedit.messages import InputError
from flowedit.pipeline.keywords import OF_FILES

OPTIONS = {
    "prompt": "target",
    "source_prompt": "source",
    "num_inference_steps": "steps",
    "guidance_scale": "target_guidance_scale",
    "mask_video": "user_mask",
    "mask_image": "user_mask",
    "height": "size",
    "width": "size",
    "generator": "seed",
}
"""Names of diffusers, and the options that they set. All other options of an edit have their own names here as well."""

ELSEWHERE = {
    "backbone": "it is the pipeline that was given",
    "runtime": "the pipeline's own device, precision and offload are used",
    "lora": "pipe.load_lora_weights loads one",
    **dict.fromkeys(OF_FILES, "frames in memory have no file; flowedit.edit(clip, ...) edits one"),
}
"""Options that an edit by a pipeline does not have, and what there is in their place."""


def options_of(given: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Options of flowedit from keywords of diffusers, `given`, and from its `own`; None stands for one not given.

    Raises InputError for an option that is given twice, for one that an edit by a pipeline does not have, and for more
    than one prompt or generator.
    """
    given = {name: value for name, value in given.items() if value is not None}
    made = {name: value for name, value in own.items() if value is not None}
    for name in made:
        if (advice := ELSEWHERE.get(name.partition(".")[0])) is not None:
            raise InputError(f"{name}: {advice}")
    for name in given:
        if (option := OPTIONS[name]) in made:
            raise InputError(f"{name} and {option} say the same: give one of them")
    if {"mask_video", "mask_image"} <= set(given):
        raise InputError("mask_video and mask_image say the same: give one of them")
    if len({"height", "width"} & set(given)) == 1:
        raise InputError("height and width go together: give both, or none for the size that the model was trained at")
    for name, value in given.items():
        if name in ("prompt", "source_prompt"):
            made[OPTIONS[name]] = one(value, name)
        elif name in ("mask_video", "mask_image"):
            made["user_mask"] = mask_of(value, name)
        elif name == "generator":
            made["seed"] = seed_of(one(value, name))
        elif name not in ("height", "width"):
            made[OPTIONS[name]] = value
    if "height" in given:
        made["size"] = f"{given['width']}x{given['height']}"
    if isinstance(made.get("negative_prompt"), (list, tuple)):
        made["negative_prompt"] = one(made["negative_prompt"], "negative_prompt")
    return made


def one(value: Any, name: str) -> Any:
    """What is given, alone or as a list of one; raises InputError for more, as one clip is edited at a time."""
    if not isinstance(value, Sequence) or isinstance(value, str):
        return value
    if len(value) != 1:
        raise InputError(f"{name} holds {len(value)}: give one, as one clip is edited at a time")
    return value[0]


def seed_of(generator: torch.Generator) -> int:
    """The seed of a generator that nothing was drawn from yet, so that it means what `seed` does; else its next number.

    Either way one number is drawn, so that the next edit by the same generator has other noise.
    """
    if not isinstance(generator, torch.Generator):
        raise InputError(f"generator is {type(generator).__name__}: give a torch.Generator")
    fresh = torch.Generator(generator.device).manual_seed(generator.initial_seed())
    seed, untouched = generator.initial_seed(), bool(torch.equal(fresh.get_state(), generator.get_state()))
    drawn = int(torch.randint(2**31, (1,), generator=generator, device=generator.device))
    return seed if untouched else drawn
