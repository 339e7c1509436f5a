"""How a mask is made: its options; nothing here imports torch."""

from dataclasses import dataclass
from typing import Literal

from flowedit.declare import option
from flowedit.masks.growth import is_growth

Threshold = Literal["mean", "quantile", "otsu"]


@dataclass(frozen=True, kw_only=True)
class MaskOptions:
    """How a mask is made; `pool`, `close`, `grow` and `decay` are in units of the shorter side of the latent."""

    name: Literal["attention", "difference", "both", "none"] = option(
        "where a mask comes from: attention (of the object's words) | difference (of the two velocities, without "
        "words) | both (joined) | none"
    )
    blocks: tuple[float, ...] | Literal["auto"] = option(
        "where attention is read, as fractions of the depth: 0.6 is block 18 of 30; or auto: the block that sees best "
        "what the edit changes",
        least=0,
        below=1,
        check=bool,
        expected="one or more fractions of the depth, 0 to 1, or auto",
        needs="attention",
    )
    normalise: Literal["joint", "text"] = option(
        "softmax over all keys (joint) or over the prompt's own tokens (text)", needs="attention"
    )
    threshold: Threshold = option(
        "what a site's attention must exceed: mean (of the whole clip) | quantile | otsu (of each frame)",
        needs="maps",
    )
    quantile: float = option(
        "for threshold=quantile: the share of a frame's sites that lie below",
        least=0,
        below=1,
        needs="maps and mask.threshold=quantile",
    )
    level: float = option(
        "what the threshold is multiplied by: below 1 the mask is wider, above 1 tighter",
        above=0,
        most=100,
        expected="above 0 (1 leaves it) to 100",
        needs="maps",
    )
    pool: float = option(
        "averaging window, in shorter sides of the latent: 0.18 is 11 of 60",
        least=0,
        most=1,
        expected="0 (no pooling) to 1",
        needs="maps",
    )
    close: float = option(
        "gaps in the mask narrower than twice this are filled, in shorter sides of the latent",
        least=0,
        most=1,
        expected="0 (none) to 1",
        needs="maps",
    )
    grow: float | str = option(
        "how far the mask is widened, in shorter sides of the latent: to all sides 0.1, to one down:0.5 (up, down, "
        "left, right), or both, 0.1 down:0.5",
        typed="X|SIDE:X",
        least=0,
        most=1,
        check=is_growth,
        expected="0 (not at all) to 1, or sides with their own, such as down:0.5",
        needs="maps",
    )
    sharpen: float = option(
        "the share of the velocity difference in the words' maps, which then see finer: s in A^(1 - s) S^s",
        least=0,
        below=1,
        expected="0 (attention alone) up to but not 1",
        needs="attention and two_velocities",
    )
    dependents: float = option(
        "how far from the object what depends on it is looked for, such as its shadow: sites where the two velocities "
        "differ join its mask; in shorter sides of the latent",
        least=0,
        most=1,
        expected="0 (not looked for) to 1",
        needs="attention and mask.name=attention",
    )
    decay: float = option(
        "soft edge exp(-decay d), d in shorter sides of the latent: 15 is 0.25 a site of 60",
        above=0,
        expected="above 0 (inf for a hard edge)",
        needs="mask",
    )
    smooth_frames: float = option(
        "Gaussian over latent frames: its standard deviation, in frames", least=0, most=100, needs="maps"
    )
    smooth_steps: float = option(
        "share of the earlier steps' maps that stays in a step's map", least=0, below=1, needs="maps"
    )
    look_at: tuple[float, ...] = option(
        "for a look before the edit: the times it evaluates, as shares of the steps: 0 is the first, 0.5 the middle",
        least=0,
        below=1,
        check=bool,
        expected="one or more shares of the steps, 0 up to but not 1",
        needs="maps",
    )
    over_draws: Literal["mean", "union"] = option(
        "several draws: averaged before the threshold (mean) or joined after it (union)", needs="attention"
    )
    preserve: bool = option("set sites with a mask below 0.5 back to the source after each step", needs="mask")
    user: Literal["replace", "join"] = option(
        "a user mask replaces the mask that is read, or joins it (join)", needs="user_mask"
    )
    objects: Literal["apart", "joined"] = option(
        "several objects: a mask for each (apart), or one of all words (joined)", needs="several_objects"
    )
