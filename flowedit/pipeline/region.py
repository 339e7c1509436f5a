"""Where an edit happens: attention maps and a user's mask to the mask that an editor asks for."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor

from flowedit.flow import guidance
from flowedit.language import words
from flowedit.masks import attention_mask, grids, shapes
from flowedit.masks.attention_mask import Role
from flowedit.masks.difference import DifferenceMap, of_objects
from flowedit.masks.held import HeldMaps
from flowedit.masks.options import MaskOptions
from flowedit.networks.control.bound import bound
from flowedit.pipeline.plan import Brief
from flowedit.pipeline.prompts.several import attention_of
from flowedit.types import (
    INSIDE,
    AttendingBackbone,
    Backbone,
    BackboneSpec,
    Conditioning,
    Control,
    Frames,
    Geometry,
    Mask,
    Side,
    Tokens,
    Velocity,
)


@dataclass(frozen=True)
class Region:
    """The editor's mask, and after the edit the soft latent mask of all its steps (1, 1, F, h, w), or None.

    `guided` makes one velocity of the target's, which has rows for each object that has a guidance scale of its own.
    `objects`, after the edit: each object's soft mask (K, 1, F, h, w), or None with fewer than two.
    """

    mask: Mask
    final: Callable[[], Tensor | None]
    guided: Callable[[Velocity], Velocity] = lambda velocity: velocity
    looks: Callable[[Tensor | None], None] = lambda part: None
    """Hears where the next maps of the target are right: the sites (1, 1, F, h, w), or None for all."""
    objects: Callable[[], Tensor | None] = lambda: None
    gather: Callable[[], None] = lambda: None
    """Called after each step, so that what the steps left for the mask is in `state`."""
    state: Callable[[], dict[str, Tensor]] = dict
    """What the mask remembers between two steps; `restore` takes it back."""
    restore: Callable[[Mapping[str, Tensor]], None] = lambda state: None
    now: Callable[[], tuple[Tensor, Tensor] | None] = lambda: None
    """The newest mask, before a step asks for its own, and each object's sites (K, 1, F, h, w); None before any."""
    maps: Callable[[], dict[str, Tensor]] = dict
    """The last maps that the mask was made from, by side, and `difference`."""
    difference: DifferenceMap | None = None
    """What is to hear the velocities, or the pair of them, for a mask of their difference."""


@contextmanager
def region(
    made: Brief,
    backbone: Backbone,
    prompts: Mapping[Side, Conditioning],
    size: Sequence[int],
    own: slice,
    user: Tensor | None,
) -> Iterator[Region]:
    """The region of one edit, the recorder on inside the block if attention is read.

    `prompts`: the conditioning of `source` and `target`; `size`: (height, width) of the latent, whose shorter side is
    the unit of the mask's sizes; `own`: the latent frames that hold the clip's own frames; `user`: the user's mask on
    the latent grid, or None.
    """
    settings, sides, found = made.settings, made.sides, made.objects
    decay = settings.mask.decay / min(size)
    if not sides and not made.difference:
        mask = None if user is None else softened(user, decay)
        yield Region(mask, lambda: mask, now=lambda: None if mask is None else (mask, mask))
        return
    tokens: dict[Conditioning, Tokens] = {
        prompts[side]: [
            words.token_indices(prompts[side].prompt, phrase, prompts[side].spans, f"{side}_words")
            for _, phrase in named
        ]
        for side, named in phrases_of(made).items()
    }
    assert settings.mask.blocks != "auto", "looks/blocks.py puts the block that it found in its place"
    recorder: AbstractContextManager[Any] = (
        backbone.record(tokens, settings.mask.blocks, settings.mask.normalise) if sides else nullcontext()
    )
    with recorder as maps:
        seen = {side: HeldMaps(partial(maps.take, prompts[side])) for side in sides}
        partly: list[HeldMaps | DifferenceMap] = [seen["target"]] if made.region and "target" in seen else []
        difference = DifferenceMap() if made.difference else None
        takes: list[Callable[[], Tensor | None]] = list(seen.values())
        shown = shown_of(made)
        if difference is not None:
            partly.append(difference)
            takes = [*takes, of_objects(difference, len(shown["difference"]))]

        def looks(part: Tensor | None) -> None:
            for each in partly:
                each.part = part

        def restore(state: Mapping[str, Tensor]) -> None:
            attention.restore(state, backbone.device)
            for each in partly:
                each.restore(state, backbone.device)

        def state() -> dict[str, Tensor]:
            return attention.state() | {name: each for held in partly for name, each in held.state().items()}

        def maps_of() -> dict[str, Tensor]:
            return {name: each for name, each in zip(shown, attention.newest(), strict=True) if each is not None}

        attention = attention_mask.AttentionMask(
            takes,
            settings.mask,
            min(size),
            own=own,
            user=None if user is None else softened(user, decay),
            kept=kept_of(made),
            shown=list(shown.values()),
            roles=roles_of(shown, settings.mask),
        )
        guided = partial(guidance.regional, weights=attention.weights) if made.own_scales else Region.guided
        yield Region(
            mask=attention,
            final=attention.vote,
            guided=guided,
            objects=attention.object_votes if found else Region.objects,
            gather=attention.gather,
            looks=looks,
            state=state,
            restore=restore,
            now=attention.now,
            maps=maps_of,
            difference=difference,
        )


def phrases_of(made: Brief) -> dict[Side, list[tuple[int, str]]]:
    """The words whose attention is read on each side, each with the object that they are of.

    First those of the objects themselves, then the source's `also_words`, which are of each object that is edited: of
    several it is the object whose own words hold a site more strongly.
    """
    named = {
        side: [(k, phrase) for k, phrase in enumerate([getattr(o, side) for o in made.objects] or [text]) if phrase]
        for side, text in made.sides.items()
    }
    edited = [k for k, stays in enumerate(kept_of(made)) if not stays]
    if "source" in named:
        named["source"] += [(k, phrase) for phrase in words.phrases(made.settings.also_words) for k in edited]
    return named


def shown_of(made: Brief) -> dict[str, list[int]]:
    """For each of the maps that make the mask, by name and in their order, the objects that it is of."""
    shown: dict[str, list[int]] = {side: [k for k, _ in named] for side, named in phrases_of(made).items()}
    if made.difference:
        shown["difference"] = [k for k, stays in enumerate(kept_of(made)) if not stays]
    return shown


def roles_of(shown: Iterable[str], options: MaskOptions) -> list[Set[Role]]:
    """What each of the maps, by name, is for: the words' have sites, the difference what the options make of it."""
    names = list(shown)
    of_difference: dict[Role, bool] = {
        "sites": options.name != "attention",
        "near": options.name == "attention" and options.dependents > 0,
        "sharpens": options.sharpen > 0 and len(names) > 1,
    }
    told = frozenset(role for role, held in of_difference.items() if held)
    return [told if name == "difference" else attention_mask.SITES for name in names]


def kept_of(made: Brief) -> list[bool]:
    """Whether each object of the mask is kept."""
    return [each.kept for each in made.objects] or [False]


def control_of(
    made: Brief, prompts: Mapping[Side, Conditioning], where: Region, grid: Sequence[float]
) -> Control | None:
    """What the edit's attention is made to do on this grid; None for nothing.

    Each object that has a mask of its own has its own words; else all target words belong to the one mask.
    """
    target, named = prompts["target"], made.objects or (words.ObjectWords("", made.settings.target_words, False),)

    def sight(which: int) -> Tensor | None:
        seen = where.now()
        if seen is None:
            return None
        return seen[which] if which == 0 or made.objects else seen[0]

    return bound(
        attention_of(made),
        prompts.get("source"),
        target,
        grid,
        path=made.editor.rises(made.settings.mode, len(grid) - 1) > 0,
        words=[words.token_indices(target.prompt, each.target, target.spans, "target_words") for each in named],
        edited=[not each.kept for each in named],
        mask=lambda: sight(0),
        regions=lambda: sight(1),
    )


def attending(backbone: Backbone, control: Control | None) -> AbstractContextManager[Any]:
    """The backbone under this control, if there is one."""
    return nullcontext() if control is None else cast(AttendingBackbone, backbone).attend(control)


def has_region(backbone: Backbone) -> bool:
    """Whether it evaluates the target in a region alone; a plug-in may not, nor may a family whose rows do not pack."""
    return hasattr(backbone, "pair_velocity") and getattr(backbone, "packs", True)


def user_latent(mask: Frames, spec: BackboneSpec, geometry: Geometry) -> Tensor:
    """A user's mask (frames, H, W) at the working size, padded in time, to the latent grid (1, 1, F, h, w)."""
    group, size = spec.frames_per_latent, geometry.latent[2:]
    latents = [grids.to_latent(torch.from_numpy(mask[:1]), group, size)]
    for start in range(1, len(mask), group):
        held = torch.from_numpy(mask[start : start + group])
        latents.append(grids.to_latent(torch.cat([held[:1], held]), group, size)[:, :, 1:])
    return torch.cat([latents[0]] * spec.leading_latents + latents, dim=2)


def softened(user: Tensor, decay: float) -> Tensor:
    """A user's latent mask (1, 1, F, h, w) with the soft edge that the mask of the words has."""
    return torch.maximum(shapes.soften((user >= INSIDE).float(), decay), user)
