"""How well maps agree with each other, and with where something is: what a block's attention is judged by."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import NamedTuple

from flowedit.masks.maps import TINY
from flowedit.tensors import Tensor, torch


class Agreement(NamedTuple):
    """How a block's maps agree over draws of noise, and with where something is: correlations, -1 to 1."""

    draws: float
    place: float

    @property
    def least(self) -> float:
        """The lower of the two, which a block is chosen by.

        One alone misleads: a block that shows no more than positions agrees with itself best of all.
        """
        return min(self)


def correlation(one: Tensor, other: Tensor) -> float:
    """Pearson's r over all sites of two maps of one shape, -1 to 1; 0 where one of them is flat."""
    a, b = (each.double() - each.double().mean() for each in (one, other))
    return float((a * b).sum() / (a.square().sum() * b.square().sum()).sqrt().clamp_min(TINY))


def agreement(sides: Sequence[Tensor], place: Tensor) -> Agreement:
    """The agreement of one block's maps (draws, F, H, W) of each prompt; `place` (F, H, W) is where something is.

    Over draws: the mean r of all pairs of one prompt's maps, 1 with a single draw. With the place: the mean over the
    prompts of r of the draws' mean map. Ours.
    """
    pairs = [correlation(one, other) for maps in sides for one, other in combinations(maps, 2)]
    places = [correlation(maps.mean(0), place) for maps in sides]
    return Agreement(sum(pairs) / len(pairs) if pairs else 1.0, sum(places) / len(places))


def auc(found: Tensor, true: Tensor) -> float | None:
    """The area under the ROC curve of a map against a boolean mask of its shape; None for a mask without both kinds.

    The chance that a site inside has a higher value than one outside, ties counted as half (Mann & Whitney 1947): 1 is
    perfect, 0.5 chance, 0 looks away.
    """
    values, inside = found.double().flatten(), true.flatten()
    count, all_sites = int(inside.sum()), inside.numel()
    if not 0 < count < all_sites:
        return None
    _, place, counts = values.unique(return_inverse=True, return_counts=True)
    rank = counts.cumsum(0) - (counts - 1) / 2  # of each value the mean rank of those that share it, from 1
    total = float(rank[place][inside].sum()) - count * (count + 1) / 2
    return total / (count * (all_sites - count))


def depths(blocks: int) -> list[list[float]]:
    """A group for each of so many blocks, as fractions of the depth: what a recorder takes to keep them apart."""
    return [[(block + 0.5) / blocks] for block in range(blocks)]


def by_block(maps: Tensor, blocks: int) -> Iterator[Tensor]:
    """Maps (rows, G K, F, H, W) of K objects in each of `blocks` groups, as (rows, K, F, H, W) for each group."""
    yield from maps.chunk(blocks, dim=1)


def joined(maps: Tensor, objects: Sequence[int]) -> Tensor:
    """One map of several objects, each in units of its own mean: (rows, K, F, H, W) to (rows, F, H, W)."""
    return torch.stack([maps[:, k] / maps[:, k].mean().clamp_min(TINY) for k in objects]).sum(0)
