"""What an edit will do: its objects and their scales, and what it costs before it runs."""

from dataclasses import replace

from flowedit.config.schema import Settings
from flowedit.language.words import Pair, pairs
from flowedit.messages import InputError


def attended(settings: Settings) -> bool:
    """Whether the mask is to come from attention, if there are words."""
    replaced = settings.user_mask is not None and settings.mask.user == "replace"
    return settings.mask.name != "none" and not replaced


def objects(settings: Settings) -> tuple[Pair, ...]:
    """The objects that have masks of their own, two or more; () for one mask of all words."""
    return () if unseen(settings) else _apart(settings)


def unseen(settings: Settings) -> bool:
    """Whether one of several objects has its words where random noise evaluates no prompt, and so no mask."""
    return settings.mode.name == "random_noise" and not all(pair.target for pair in _apart(settings))


def _apart(settings: Settings) -> tuple[Pair, ...]:
    apart = attended(settings) and settings.mask.objects == "apart"
    return pairs(settings.source_words, settings.target_words) if apart else ()


def edited(settings: Settings) -> tuple[Pair, ...]:
    """Those of the objects that are not kept."""
    return tuple(pair for pair in objects(settings) if not pair.kept)


def own_scales(settings: Settings) -> bool:
    """Whether each object is guided by a scale of its own."""
    return settings.object_guidance_scales is not None and bool(objects(settings))


def target_scales(settings: Settings) -> tuple[float, ...]:
    """The guidance scales of the target: one for each edited object, and target_guidance_scale for what is beyond.

    Without `object_guidance_scales` that alone; with them it is there only for the sites of a user mask that joins.
    Raises ValueError for another number of scales than of edited objects.
    """
    if not own_scales(settings):
        return (settings.target_guidance_scale,)
    scales, changed = settings.object_guidance_scales or (), edited(settings)
    if len(scales) != len(changed):
        named = ", ".join(map(str, changed))
        raise InputError(
            f"object_guidance_scales {list(scales)}: {len(changed)} numbers are needed, one for each object that is "
            f"edited ({named})"
        )
    return scales if settings.user_mask is None else (*scales, settings.target_guidance_scale)


MOST_STEPS = 1000
"""A model's own knots are no more."""


def intervals(settings: Settings) -> int:
    """How many intervals of the grid are run."""
    steps = len(settings.mode.times or ()) - 1 if settings.mode.grid == "given" else settings.steps
    return min(int(settings.strength * steps + 1e-9), steps)


def network_evaluations(settings: Settings) -> int:
    """Batch rows that one window of one scene sends through the network; `run.yaml` counts those of all.

    How many scenes and windows a clip has depends on its frames and on the backbone, which are not known here; methods
    on one clip are compared by the cost of one window of one scene.
    A velocity with classifier-free guidance (a scale other than 1) takes two rows, midpoint and Heun two velocities
    an interval (Heun one into t = 0). With n intervals, s and t rows a velocity of the source and of the target:
    random noise n t; inversion n s up and n t down (and n s down again to report its reconstruction);
    inversion-free draws (s + t) an interval, s + t for each of the fixed_noise_steps (one noise), and t for each of
    the last target_only_steps. FlowAlign's target is two rows too: the source prompt and the target's. Scales for
    several objects take no more rows than one: a guided velocity is affine in its scale.
    """
    mode, n = settings.mode, intervals(settings)
    both = (settings.source_guidance_scale,), target_scales(settings)
    source, target = (1 if set(scales) == {1.0} else 2 for scales in both)
    if mode.name == "inversion_free":
        last = min(mode.target_only_steps or 0, n)
        paired = n - last
        fixed = min(mode.fixed_noise_steps or 0, paired)
        return ((paired - fixed) * settings.draws + fixed) * (source + target) + last * target
    up = {"euler": n, "midpoint": 2 * n, "heun": 2 * n}[mode.solver or "euler"]
    down = up - (1 if mode.solver == "heun" and n else 0)
    if mode.name == "random_noise":
        return down * target
    return up * source + down * target + (down * source if mode.reconstruction else 0)


def within(settings: Settings, budget: int) -> Settings:
    """The settings with the fewest steps whose cost comes nearest to `budget` network evaluations from below.

    Strength 0 runs none. Raises ValueError for a budget that pays not even one step, and for a given grid of another
    cost: its steps stand.
    """
    if settings.strength == 0:
        return settings
    if settings.mode.grid == "given":
        if (cost := network_evaluations(settings)) != budget:
            raise InputError(f"mode.grid=given takes {cost} network evaluations, not {budget}: choose evaluations=own")
        return settings
    best, most = None, 0
    for steps in range(1, MOST_STEPS + 1):
        tried = replace(settings, steps=steps)
        cost = network_evaluations(tried)
        if cost > budget:
            break
        if cost > most:
            best, most = tried, cost
    if best is None:
        raise InputError(f"{budget} network evaluations do not pay one step of {settings.mode.name}")
    return best
