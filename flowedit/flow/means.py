"""Means of attention maps over the calls of a velocity, prompt by prompt."""

from __future__ import annotations

from flowedit.tensors import Tensor
from flowedit.types import Conditioning


class Means:
    """Running sums of tensors of one shape, one for each prompt, until their mean is taken."""

    def __init__(self) -> None:
        self._sums: dict[Conditioning, Tensor] = {}
        self._counts: dict[Conditioning, int] = {}

    def add(self, prompt: Conditioning, value: Tensor) -> None:
        """Count one more value of the prompt."""
        old = self._sums.get(prompt)
        self._sums[prompt] = value if old is None else old + value
        self._counts[prompt] = self._counts.get(prompt, 0) + 1

    def take(self, prompt: Conditioning) -> Tensor | None:
        """Mean over the values since the last take; None without one."""
        total = self._sums.pop(prompt, None)
        return None if total is None else total / self._counts.pop(prompt)
