"""The objects of an edit: which words pair up, whether attention is read for them, and what guides each."""

from flowedit.settings import Settings
from flowedit.words import Pair, pairs


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
        raise ValueError(
            f"object_guidance_scales {list(scales)}: {len(changed)} numbers are needed, one for each object that is "
            f"edited ({named})"
        )
    return scales if settings.user_mask is None else (*scales, settings.target_guidance_scale)
