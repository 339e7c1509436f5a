"""`mask.blocks=auto`: the block of the network whose attention sees what the edit would change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from flowedit.flow import noise
from flowedit.language import words
from flowedit.masks.agreement import Agreement, agreement, by_block, depths, joined
from flowedit.networks.stages import depth
from flowedit.pipeline.plan import LOOK_DRAWS, Brief
from flowedit.pipeline.record import Session
from flowedit.pipeline.region import kept_of, phrases_of
from flowedit.pipeline.resume import Journal
from flowedit.types import Backbone, Conditioning, Side

TIME = 0.7
"""The time that is looked at; of 0.3, 0.5, 0.7 and 0.9 one of two at which pocket's own block was always found."""


class Looking(NamedTuple):
    """A prompt whose attention is looked at: the tokens of its objects, and which of them are edited."""

    prompt: Conditioning
    tokens: Sequence[Sequence[int]]
    edited: Sequence[int]


def settled(
    made: Brief,
    backbone: Backbone,
    prompts: Mapping[Side, Conditioning],
    x_src: Tensor,
    own: slice,
    user: Tensor | None,
    session: Session,
    journal: Journal,
) -> Brief:
    """The brief with the block that was found in the place of `mask.blocks=auto`; any other brief as it is.

    The choice is kept in the journal, so that an edit that goes on reads where it read before. Arguments are as in
    `pipeline/steer.py`.
    """
    mask = made.settings.mask
    if not made.looks_for_block:
        return made
    name, count = f"shot-{session.shot:03}-blocks", depth(backbone)
    if (kept := journal.load(name)) is not None:
        block = int(kept[1]["block"])
    else:
        pair = prompts.get("source") or backbone.embed(""), prompts["target"]
        how = made.settings.seed, mask.normalise
        found = looked_at(backbone, looks_of(made, prompts), pair, x_src, own, user, *how, count)
        block = best(found)
        shot = f"shot {session.shot}: " if session.shot > 1 else ""
        where = "your mask" if user is not None else "where the velocities differ"
        typed = f"mask.blocks=[{depths(count)[block][0]:.3g}]"
        draws, place = found[block]
        agree = f"its maps agree {draws:.2f} over draws of noise, and {place:.2f} with {where}"
        session.say([f"{shot}mask.blocks=auto reads block {block + 1} of {count}, {typed}: {agree}"])
        journal.save(name, {"block": torch.tensor(block)}, block=block)
    return replace(made, settings=replace(made.settings, mask=replace(mask, blocks=tuple(depths(count)[block]))))


def best(found: Sequence[Agreement]) -> int:
    """The number, from 0, of the block whose lesser agreement is greatest."""
    return max(range(len(found)), key=lambda i: found[i].least)


@torch.no_grad()
def looked_at(
    backbone: Backbone,
    looks: Sequence[Looking],
    pair: tuple[Conditioning, Conditioning],
    x_src: Tensor,
    own: slice,
    user: Tensor | None,
    seed: int,
    normalise: str,
    count: int,
) -> list[Agreement]:
    """The agreement of each of the network's `count` blocks, by LOOK_DRAWS draws of noise of two velocities each.

    Those of the `pair` of prompts at q = (1 - t) x_src + t eps, t = TIME, without guidance; `looks` are of some of
    these prompts. What the maps are to agree with is a user's mask (1, 1, F, h, w) where there is one, else the mean
    over draws and channels of |u_2 - u_1|.
    """
    velocities = [backbone.velocity(prompt) for prompt in pair]
    eps = noise.gaussian(seed, tuple(x_src.shape), x_src.device)
    seen: list[list[Tensor]] = [[] for _ in looks]
    differences = []
    with backbone.record({each.prompt: each.tokens for each in looks}, depths(count), normalise) as maps:
        for draw in range(LOOK_DRAWS):  # one at a time: no more memory than a step of the edit
            q = (1 - TIME) * x_src + TIME * eps(0, draw)
            one, other = (velocity(q, TIME) for velocity in velocities)
            differences.append((other - one).abs().mean(1)[0])
            for each, held in zip(looks, seen, strict=True):
                taken = maps.take(each.prompt)
                assert taken is not None
                held.append(taken)
    place = torch.stack(differences).mean(0) if user is None else user[0, 0]
    of_blocks = [list(by_block(torch.cat(each)[:, :, own], count)) for each in seen]
    return [
        agreement([joined(maps[i], each.edited) for maps, each in zip(of_blocks, looks, strict=True)], place[own])
        for i in range(count)
    ]


def looks_of(made: Brief, prompts: Mapping[Side, Conditioning]) -> list[Looking]:
    """What is looked at in an edit: of each side whose attention is read the objects, and which of them are edited.

    An object that is kept is not what differs: a side that names kept ones alone is left out, unless both do.
    """
    kept, looks = kept_of(made), []
    for side, named in phrases_of(made).items():
        prompt = prompts[side]
        tokens = [words.token_indices(prompt.prompt, each, prompt.spans, f"{side}_words") for _, each in named]
        looks.append(Looking(prompt, tokens, [place for place, (k, _) in enumerate(named) if not kept[k]]))
    some = [each for each in looks if each.edited]
    return some or [each._replace(edited=range(len(each.tokens))) for each in looks]
