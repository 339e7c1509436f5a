"""How a mask is made: the options of a mask."""

from dataclasses import dataclass
from typing import Literal

from flowedit.declare import option


@dataclass(frozen=True, kw_only=True)
class MaskOptions:
    """How a mask is made; `pool`, `grow` and `decay` are in units of the shorter side of the latent."""

    name: Literal["attention", "none"] = option("where a mask comes from: attention (of the object's words) | none")
    blocks: tuple[float, ...] = option(
        "x", least=0, below=1, check=bool, expected="one or more fractions of the depth, 0 to 1", needs="attention"
    )
    normalise: Literal["joint", "text"] = option("x", needs="attention")
    threshold: Literal["mean", "quantile", "otsu"] = option("x", needs="attention")
    quantile: float = option("x", least=0, below=1, needs="mask.threshold=quantile")
    pool: float = option("x", least=0, most=1, expected="0 (no pooling) to 1", needs="attention")
    grow: float = option("x", least=0, most=1, expected="0 (not at all) to 1", needs="attention")
    decay: float = option("x", above=0, expected="above 0 (inf for a hard edge)", needs="mask")
    smooth_frames: float = option("x", least=0, most=100, needs="attention")
    smooth_steps: float = option("x", least=0, below=1, needs="attention")
    over_draws: Literal["mean", "union"] = option("x", needs="attention")
    preserve: bool = option("x", needs="mask")
    user: Literal["replace", "join"] = option("x", needs="user_mask")
    objects: Literal["apart", "joined"] = option("x", needs="several_objects")
