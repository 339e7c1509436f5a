"""Where an edit happens: words, attention maps and a user's mask to the mask that an editor asks for."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from flowedit.config.schema import Settings
from flowedit.editors.common import INSIDE
from flowedit.flow import guidance
from flowedit.language import words
from flowedit.masks import attention_mask, grids, shapes
from flowedit.messages import InputError
from flowedit.pipeline.plan import attended, objects, own_scales, unseen
from flowedit.types import Backbone, Conditioning, Frames, Geometry, Mask, Tokens, Velocity

LONELY = {
    "remove": ("source", "target", "what goes has no words in the target prompt"),
    "add": ("target", "source", "what comes has no words in the source prompt"),
}
"""Tasks whose object stands in one prompt alone: that side, the other, and why it has no words there."""


@dataclass(frozen=True)
class Region:
    """The editor's mask, and after the edit the soft latent mask of all its steps (1, 1, F, h, w), or None.

    `guided` makes one velocity of the target's, which has rows for each object that has a guidance scale of its own.
    `objects`, after the edit: each object's soft mask (K, 1, F, h, w), or None with fewer than two.
    """

    mask: Mask
    final: Callable[[], Tensor | None]
    guided: Callable[[Velocity], Velocity] = lambda velocity: velocity
    objects: Callable[[], Tensor | None] = lambda: None


def watched(settings: Settings) -> dict[str, str]:
    """Sides whose attention is read, `source` and `target`, with their words; random noise evaluates no source.

    None is where an object that goes has no map, so that what is kept is not taken for what is edited.
    """
    if not attended(settings) or unseen(settings):
        return {}
    sides = {"source": settings.source_words, "target": settings.target_words}
    if settings.mode.name == "random_noise":
        del sides["source"]
    return {side: text for side, text in sides.items() if words.phrases(text)}


def check_words(settings: Settings) -> None:
    """Raise ValueError for an object word that its prompt does not have, with the prompt's words; and for words that
    the task has no use for, or lacks, beside those of kept objects.
    """
    words.occurrences(settings.source or "", settings.source_words if settings.source else "", "source_words")
    words.occurrences(settings.target or "", settings.target_words, "target_words")
    if settings.task in LONELY:
        side, other, what = LONELY[settings.task]
        edited = dict(zip(("source", "target"), _changed(settings), strict=True))
        if given := ", ".join(edited[other]):
            raise InputError(f"task={settings.task} takes no {other}_words, {given!r}: {what}")
        if not edited[side] and settings.user_mask is None:
            raise InputError(f"task={settings.task} needs {side}_words, or a user mask, that say where")


def explain(settings: Settings) -> list[str]:
    """What a user should hear about where the edit happens."""
    said, sides = list(_told(settings)), watched(settings)
    if settings.mode.name == "random_noise" and words.phrases(settings.source_words):
        said.append("random_noise evaluates no source prompt: source_words give no mask")
    if not attended(settings):
        if not settings.user_mask:
            said.append("mask=none and no user mask: a global edit, the whole frame may change")
        elif settings.mask.name == "attention" and words.phrases(settings.source_words + settings.target_words):
            said.append("the user mask replaces that of the words (mask.user=join joins the two)")
        return said
    if not sides:
        what = "the user mask alone" if settings.user_mask else "a global edit, the whole frame may change"
        said.append(f"no words to read attention for: {what} (give --source-words or --target-words)")
    elif len(sides) == 1 and settings.mode.name != "random_noise":
        other = "target" if "source" in sides else "source"
        if settings.task not in LONELY:
            said.append(f"no {other}_words: the mask comes from the {next(iter(sides))} prompt alone")
    return said + _pairing(settings)


def _pairing(settings: Settings) -> list[str]:
    if found := objects(settings):
        named = ", ".join(map(str, found))
        return [f"{len(found)} objects, a mask each: {named} (mask.objects=joined makes one of all)"]
    counts = [len(words.phrases(text)) for text in (settings.source_words, settings.target_words)]
    if settings.mask.objects == "apart" and all(counts) and max(counts) > 1 and not unseen(settings):
        return [f"{counts[0]} source words and {counts[1]} target words do not pair up: one mask for all of them"]
    return []


def _told(settings: Settings) -> Iterator[str]:
    read = settings.task in LONELY and LONELY[settings.task][0] in watched(settings)
    if settings.task == "add" and read:
        yield "an addition: the mask comes from the target prompt's words (task=replace edits as any other)"
    if settings.task == "remove" and read:
        yield "a removal: the mask comes from the source prompt's words (task=replace edits as any other)"
    if settings.task == "remove":
        old, _ = _changed(settings)
        kept = [phrase for phrase in words.phrases(settings.source_words) if phrase not in old]
        if left := words.content(" ".join(old)) & words.content(settings.target or "") - words.content(" ".join(kept)):
            yield f"the target prompt still says {', '.join(sorted(left))}: what is to go may stay"


def _changed(settings: Settings) -> tuple[list[str], list[str]]:
    return words.changed(settings.source_words, settings.target_words)


@contextmanager
def region(
    settings: Settings,
    backbone: Backbone,
    prompts: Mapping[str, Conditioning],
    size: Sequence[int],
    own: slice,
    user: Tensor | None,
) -> Iterator[Region]:
    """The region of one edit, the recorder on inside the block if attention is read.

    `prompts`: the conditioning of `source` and `target`; `size`: (height, width) of the latent, whose shorter side is
    the unit of the mask's sizes; `own`: the latent frames that hold the clip's own frames; `user`: the user's mask on
    the latent grid, or None.
    """
    sides, decay = watched(settings), settings.mask.decay / min(size)
    found = objects(settings)
    if not sides:
        mask = None if user is None else _softened(user, decay)
        yield Region(mask, lambda: mask)
        return
    named = {side: [getattr(each, side) for each in found] or [text] for side, text in sides.items()}
    tokens: dict[Conditioning, Tokens] = {
        prompts[side]: [
            words.token_indices(prompts[side].prompt, phrase, prompts[side].spans, f"{side}_words")
            for phrase in phrases
            if phrase
        ]
        for side, phrases in named.items()
    }
    with backbone.record(tokens, settings.mask.blocks, settings.mask.normalise) as maps:
        attention = attention_mask.AttentionMask(
            [partial(maps.take, prompt) for prompt in tokens],
            threshold=settings.mask.threshold,
            quantile=settings.mask.quantile,
            pool=_odd(settings.mask.pool * min(size)),
            grow=settings.mask.grow * min(size),
            decay=decay,
            smooth_frames=settings.mask.smooth_frames,
            smooth_steps=settings.mask.smooth_steps,
            over_draws=settings.mask.over_draws,
            own=own,
            user=None if user is None else _softened(user, decay),
            kept=[each.kept for each in found] or [False],
            shown=[[k for k, phrase in enumerate(phrases) if phrase] for phrases in named.values()],
        )
        guided = partial(guidance.regional, weights=attention.weights) if own_scales(settings) else Region.guided
        yield Region(attention, attention.vote, guided, attention.voted if found else Region.objects)


def user_latent(mask: Frames, backbone: Backbone, geometry: Geometry) -> Tensor:
    """A user's mask (frames, H, W) at the working size, padded in time, to the latent grid (1, 1, F, h, w)."""
    group, size = backbone.spec.frames_per_latent, geometry.latent[2:]
    latents = [grids.to_latent(torch.from_numpy(mask[:1]), group, size)]
    for start in range(1, len(mask), group):
        held = torch.from_numpy(mask[start : start + group])
        latents.append(grids.to_latent(torch.cat([held[:1], held]), group, size)[:, :, 1:])
    return torch.cat([latents[0]] * backbone.spec.leading_latents + latents, dim=2)


def _softened(user: Tensor, decay: float) -> Tensor:
    return torch.maximum(shapes.soften((user >= INSIDE).float(), decay), user)


def _odd(size: float) -> int:
    """The odd number nearest to a window's size, at least 1."""
    return max(1, 2 * round((size - 1.0) / 2.0) + 1)
