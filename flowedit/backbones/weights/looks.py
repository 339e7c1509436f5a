"""What a file of weights or a LoRA looks to be, by the names and shapes of its tensors; nothing here needs torch."""

import re
from collections.abc import Iterable, Mapping

from flowedit.backbones.sheet import SHEETS, Signs

ROOT = re.compile(
    r"^(base_model\.model\.)?(transformer(_2)?\.|unet\.|model\.|diffusion_model\.|lora_(unet|transformer)_)*"
)
"""What programs put before a network's own names."""

OTHERS = (
    Signs("AnimateDiff", r".*motion_modules"),
    Signs("Stable Diffusion", maybe=r"(down|up)_blocks|mid_block|input_blocks|output_blocks|middle_block"),
    Signs("SD3 or Qwen-Image", maybe=r"(transformer_blocks[._]\d+[._]attn|joint_blocks)[._]"),
    Signs("an autoencoder", r"(vae\.)?(encoder|decoder)\.(conv_in|conv1|down|mid|up|middle)|quant_conv"),
    Signs("a text encoder", r"shared\.weight|encoder\.block\.|text_model\.|embed_tokens|layers\.\d+\.self_attn"),
)
"""What has no sheet, as nothing here runs it."""

LORA = re.compile(r"lora_[AB]\.|lora_(down|up)\.|lora\.(down|up)|_lora\.")


def looks_like(shapes: Mapping[str, Iterable[int]]) -> str:
    """What a file with tensors of these names and shapes looks to be, such as "Wan 14B"; empty where nobody knows.

    Families whose own names are in it, else those that may have such names; of these the ones with a width that it has.
    """
    names = {ROOT.sub("", key): set(shape) for key, shape in shapes.items()}
    for sign in ("sure", "maybe"):
        found = [(each, _sides(names, getattr(each, sign))) for each in (*_known(), *OTHERS)]
        fits = [(each, sides) for each, sides in found if sides is not None]
        sized = [each.sizes[side] for each, sides in fits for side in sorted(sides) if side in each.sizes]
        if fits:
            return " or ".join(dict.fromkeys(sized or [each.called for each, _ in fits]))
    return ""


def families() -> list[str]:
    """What `looks_like` calls the families that have sheets."""
    return [each.called for each in _known()]


def _known() -> list[Signs]:
    return [each for name in sorted(SHEETS) if (each := SHEETS[name].signs) is not None]


def _sides(names: Mapping[str, set[int]], pattern: str) -> set[int] | None:
    """The sides of the tensors whose names begin so; None where none does."""
    mine = [sides for name, sides in names.items() if re.match(pattern, name)]
    return set[int]().union(*mine) if mine else None


def is_lora(names: Iterable[str]) -> bool:
    """Whether the names are those of low-rank changes, and not of weights."""
    return any(LORA.search(name) for name in names)
