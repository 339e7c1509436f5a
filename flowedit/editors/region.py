"""The region pass: the target is evaluated where the mask is, and the rest of the clip stays as it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from flowedit.masks.shapes import grow
from flowedit.tensors import Tensor, torch
from flowedit.types import INSIDE, Chosen, PairVelocity, Velocity


class RegionPass:
    """Both velocities of a step, and the step's mask, inside a region R of the latent; R is the same for some steps.

    R = {sites within `margin` sites of one where M >= 0.5}, M the mask of the last step that was evaluated whole. That
    is the first, and every `refresh` steps one more, as attention outside R is seen in whole steps alone; a mask that
    is a tensor is known from the start and needs none. The mask that an editor gets is M at R, and 0 elsewhere.

    `source`, `target`: the whole velocities; `inside`: both, the target at R alone; `choose`: R, bool (1, 1, F, H, W),
    to its tokens, for which the host waits; `looks` is told where the target's next maps are right, None for
    everywhere. Source: KV-Edit (arXiv 2502.17363), whose mask is the user's; that it is re-read is ours.
    """

    def __init__(
        self,
        source: Velocity,
        target: Velocity,
        inside: PairVelocity,
        choose: Callable[[Tensor], Sequence[Chosen]],
        mask: Tensor | Callable[[int], Tensor],
        margin: float,
        refresh: int,
        looks: Callable[[Tensor | None], None] = lambda part: None,
    ) -> None:
        self._source, self._target, self._inside, self._choose = source, target, inside, choose
        self._mask, self._margin, self._refresh, self._looks = mask, margin, refresh, looks
        self._whole = False
        self._chosen: Sequence[Chosen] | None = None
        self._region = None if callable(mask) else around(mask, margin)
        if self._region is not None:
            self._chosen = choose(self._region)

    def pair(self, q: Tensor, p: Tensor, t: float, step: int) -> tuple[Tensor, Tensor]:
        """(u_src, u_tgt) of a step; outside R u_tgt is u_src, but in a whole step."""
        self._whole = self._region is None or (callable(self._mask) and step % self._refresh == 0)
        if self._region is None or self._whole:
            return self._source(q, t), self.target(p, t)
        if self._chosen is None:
            self._chosen = self._choose(self._region)
        self._looks(self._region)
        return self._inside(q, p, t, self._chosen)

    def target(self, z: Tensor, t: float) -> Tensor:
        """The target's velocity, whole."""
        self._looks(None)
        return self._target(z, t)

    def mask(self, step: int) -> Tensor:
        """M at R, 0 elsewhere, asked after the step's velocities."""
        m = self._mask(step) if callable(self._mask) else self._mask
        if self._whole or self._region is None:
            self._region, self._chosen, self._whole = around(m, self._margin), None, False
        return m * self._region

    def state(self) -> dict[str, Tensor]:
        """What it remembers between two steps; `restore` takes it back."""
        return {} if self._region is None else {"region": self._region}

    def restore(self, state: Mapping[str, Tensor], device: torch.device) -> None:
        """Remember what another one knew, on this device."""
        if "region" in state:
            self._region, self._chosen, self._whole = state["region"].to(device), None, False


def around(mask: Tensor, margin: float) -> Tensor:
    """The sites within `margin` sites of one where M >= 0.5, in its frame: (1, 1, F, H, W) to bool, alike."""
    return grow((mask >= INSIDE).float(), margin) > 0
