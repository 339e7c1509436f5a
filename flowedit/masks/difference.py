"""A mask without words: where the target's velocity differs from the source's."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from flowedit.tensors import Tensor, torch
from flowedit.types import Pair, Side, Velocity


class DifferenceMap:
    """S = sum over steps of mean over pairs, rows and channels of |u_tgt - u_src|, on the latent grid, (1, 1, F, H, W).

    It hears both velocities through `heard`, or `pair`, or is told by `add`; two are a pair that follow each other at
    one time, and all pairs of one time are one step's. Pairs before those of more noise do not count: they looked
    ahead, as FlowDC's. Where they agree everywhere S is 0. It costs no evaluation. Source: after DiffEdit (Couairon et
    al. 2023), whose noise estimates are of one time; the sum over the steps of the edit is ours.
    """

    def __init__(self) -> None:
        self._first: tuple[Side, float, Tensor] | None = None
        self._sum: Tensor | None = None
        self._before: Tensor | None = None
        self._pairs: tuple[float, Tensor, int] | None = None
        self._last: Tensor | None = None
        self._new = False
        self.part: Tensor | None = None
        """The sites, bool (1, 1, F, H, W), at which the next target velocities are the target's own; None for all.

        Elsewhere the last whole difference counts once more."""

    def heard(self, side: Side, velocity: Velocity) -> Velocity:
        """The velocity of a side, heard."""

        def heard(z: Tensor, t: float) -> Tensor:
            u = velocity(z, t)
            first, self._first = self._first, None
            if first is not None and first[0] != side and first[1] == t:
                self.add(t, first[2], u)
            else:
                self._first = side, t, u
            return u

        return heard

    def pair(self, pair: Pair) -> Pair:
        """Both at once, heard; its own calls of the two velocities are not to be heard as well."""

        def heard(q: Tensor, p: Tensor, t: float, step: int) -> tuple[Tensor, Tensor]:
            u_src, u_tgt = pair(q, p, t, step)
            self._first = None
            self.add(t, u_src, u_tgt)
            return u_src, u_tgt

        return heard

    def __call__(self) -> Tensor | None:
        """S so far; None where nothing came to it since it was last asked."""
        new, self._new = self._new, False
        return self._sum if new else None

    def add(self, t: float, one: Tensor, other: Tensor) -> None:
        """A pair at time t, (B, C, F, H, W) each."""
        if len(one) != len(other):  # a method may take other draws of each
            one, other = one.mean(0, keepdim=True), other.mean(0, keepdim=True)
        change = (one - other).abs().mean((0, 1), keepdim=True)
        if self.part is not None and self._last is not None:
            change = torch.where(self.part, change, self._last)
        self._last = change
        time, total, count = self._pairs or (t, change, 0)
        if t < time:
            self._before = self._sum
        total, count = (total + change, count + 1) if t == time and count else (change, 1)
        self._pairs = t, total, count
        self._sum = total / count if self._before is None else self._before + total / count
        self._new = True

    def state(self) -> dict[str, Tensor]:
        """What it remembers between two steps; `restore` takes it back."""
        named = {"difference": self._sum, "difference-last": self._last}
        return {name: each.clone() for name, each in named.items() if each is not None}  # the mask's may be the same

    def restore(self, state: Mapping[str, Tensor], device: torch.device) -> None:
        """Remember what another one knew, on this device."""
        held = {name: each.to(device) for name, each in state.items() if name.startswith("difference")}
        self._sum, self._last = held.get("difference"), held.get("difference-last")
        self._before, self._pairs = self._sum, None  # a step is kept when all its pairs were heard


def of_objects(take: Callable[[], Tensor | None], count: int) -> Callable[[], Tensor | None]:
    """The same map for each of `count` objects: (1, 1, F, H, W) to (1, K, F, H, W), of whom the words' maps decide."""

    def taken() -> Tensor | None:
        new = take()
        return None if new is None else new.expand(-1, count, -1, -1, -1)

    return taken
