"""What each word's attention sees, in every block and at three levels of noise, and which block sees the object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from flowedit.flow import noise
from flowedit.masks.agreement import auc, by_block, depths
from flowedit.networks.stages import depth
from flowedit.pipeline.looks.blocks import Looking, best, looked_at
from flowedit.types import Backbone, Conditioning

TIMES = (0.3, 0.6, 0.9)
"""The levels of noise: a little, half, nearly all."""


@dataclass(frozen=True, eq=False)
class SightStudy:
    """Maps (T, W, B, h, w) of W words in B blocks at T times, of the latent frame `place`, each divided by its mean.

    `auc` (T, W, B): of all the clip's sites, whether those inside the mask are seen more; None without a mask.
    """

    words: tuple[str, ...]
    times: tuple[float, ...]
    place: int
    maps: np.ndarray
    auc: np.ndarray | None

    @property
    def blocks(self) -> int:
        """How many there are."""
        return int(self.maps.shape[2])

    def plain(self) -> dict[str, Any]:
        """Its numbers for JSON."""
        found = None if self.auc is None else np.round(self.auc.astype(float), 4).tolist()
        return {
            "words": list(self.words),
            "times": list(self.times),
            "blocks": [each[0] for each in depths(self.blocks)],
            "auc": found,
        }


@dataclass(frozen=True)
class Suggestion:
    """The block, from 0, that sees the object best: why, and each block's score, 1 at most."""

    block: int
    blocks: int
    words: str
    why: str
    scores: tuple[float, ...]

    @property
    def option(self) -> str:
        """What is typed for it."""
        return f"mask.blocks=[{depths(self.blocks)[self.block][0]:.3g}]"


@torch.no_grad()
def see(
    backbone: Backbone,
    prompt: Conditioning,
    words: Mapping[str, Sequence[int]],
    x: Tensor,
    place: int,
    own: slice,
    seed: int,
    mask: Tensor | None = None,
) -> SightStudy:
    """The attention of the words' tokens in every block, where a latent x (1, C, F, H, W) is noised to each of TIMES.

    `place` is the latent frame that is shown, `own` those of the clip; `mask` (1, 1, F, H, W) is where the object is.
    """
    count, eps = depth(backbone), noise.gaussian(seed, tuple(x.shape), x.device)(0, 0)
    velocity, shown, scores = backbone.velocity(prompt), [], []
    inside = None if mask is None else mask[0, 0, own].cpu() >= 0.5
    with backbone.record({prompt: [list(each) for each in words.values()]}, depths(count)) as recorded:
        for t in TIMES:
            velocity((1 - t) * x + t * eps, t)
            taken = recorded.take(prompt)
            assert taken is not None
            maps = torch.stack(list(by_block(taken[0:1].cpu(), count)), 2)[0]  # (W, B, F, H, W)
            maps = maps / maps[:, :, own].mean((2, 3, 4), keepdim=True).clamp_min(1e-30)
            shown.append(maps[:, :, place])
            if inside is not None:
                values = [[auc(block[own], inside) for block in word] for word in maps]
                scores.append([[np.nan if each is None else each for each in word] for word in values])
    return SightStudy(tuple(words), TIMES, place, torch.stack(shown).numpy(), np.array(scores) if scores else None)


def by_mask(study: SightStudy, words: str, named: Sequence[int]) -> Suggestion:
    """The block whose AUC is greatest, the mean over the times and the `named` of the study's words."""
    assert study.auc is not None
    scores = study.auc[:, list(named)].mean((0, 1))
    block = int(scores.argmax())
    return Suggestion(block, study.blocks, words, f"AUC {scores[block]:.2f} against the mask", tuple(scores.tolist()))


def by_agreement(
    backbone: Backbone,
    looks: Sequence[Looking],
    pair: tuple[Conditioning, Conditioning],
    x: Tensor,
    own: slice,
    words: str,
    seed: int,
    normalise: str,
) -> Suggestion:
    """The block that `mask.blocks=auto` would read of these prompts (`pipeline/looks/blocks.py: looked_at`)."""
    found = looked_at(backbone, looks, pair, x, own, None, seed, normalise, depth(backbone))
    block = best(found)
    why = (
        f"its maps agree {found[block].draws:.2f} over draws of noise, and {found[block].place:.2f} with where the "
        "velocities differ"
    )
    return Suggestion(block, len(found), words, why, tuple(each.least for each in found))
