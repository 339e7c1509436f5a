"""Attention maps of a part of the sites, completed by those that were last seen of the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from flowedit.tensors import Tensor, torch


class HeldMaps:
    """Maps of one side (rows, K, F, H, W), as `take` gives them: all of them, or right at the sites of `part` alone.

    What is missing comes from the last maps that were whole there; where these had other rows, from their mean.
    """

    def __init__(self, take: Callable[[], Tensor | None]) -> None:
        self._take = take
        self._last: Tensor | None = None
        self.part: Tensor | None = None
        """The sites, bool (1, 1, F, H, W), at which the next maps are right; None for all."""

    def __call__(self) -> Tensor | None:
        """The newest maps, whole; None before any."""
        new = self._take()
        if new is not None:
            if self.part is not None and self._last is not None:
                known = self._last if len(self._last) == len(new) else self._last.mean(0, keepdim=True)
                new = torch.where(self.part, new, known)
            self._last = new
        return new

    def state(self) -> dict[str, Tensor]:
        """What it remembers; `restore` takes it back."""
        return {} if self._last is None else {"held": self._last}

    def restore(self, state: Mapping[str, Tensor], device: torch.device) -> None:
        """Remember what another one knew, on this device."""
        self._last = state["held"].to(device) if "held" in state else None
