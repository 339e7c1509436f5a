"""Under which heading an option stands, in `--help` and on the studio's page alike."""

SECTIONS = {
    "most used": ("source", "backbone", "mode", "quality", "strength", "edit_strength", "out"),
    "what to change": (
        "instruction", "target", "target_parts", "source_words", "also_words", "target_words",
        "negative_prompt", "target_negative_prompt", "task", "caption",
    ),
    "where": ("mask", "user_mask", "box", "point", "composite", "upscale"),
    "how": (
        "steps", "seed", "source_guidance_scale", "target_guidance_scale", "guidance_rule", "object_guidance_scales",
        "draws", "averaging", "attention", "lora",
    ),
    "which frames": ("start", "frames", "fps", "size", "fit", "cuts", "frame_by_frame", "window", "window_overlap"),
    "the file": ("format", "codec", "crf", "bit_depth"),
    "the machine": ("runtime",),
}  # fmt: skip
"""Top-level keys by heading; one that is named nowhere stands under `MORE`."""

MORE = "more"


def section_of(key: str) -> str:
    """The heading of an option by its key; an option of a group, such as mask.pool, stands with its group."""
    group = key.partition(".")[0]
    return next((title for title, keys in SECTIONS.items() if group in keys), MORE)
