"""torch, loaded when it is first used: who asks what a method takes or costs need not wait for it.

The rooms `editors`, `flow` and `masks` write `from flowedit.tensors import F, Tensor, torch`, as many of these as they
use, in place of `import torch`; tests/test_house.py holds them to it.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch as torch
    import torch.nn.functional as F
    from torch import Tensor as Tensor
else:

    class _Late:
        """A module, which a look at any of its names imports."""

        def __init__(self, module: str) -> None:
            self._module = module

        def __getattr__(self, name: str) -> Any:
            return getattr(importlib.import_module(self._module), name)

    class _Kind(type):
        def __instancecheck__(cls, thing: Any) -> bool:
            return "torch" in sys.modules and isinstance(thing, torch.Tensor)  # before, nothing is one

    class Tensor(metaclass=_Kind):
        """torch.Tensor, in annotations and for isinstance."""

    torch, F = _Late("torch"), _Late("torch.nn.functional")

__all__ = ["F", "Tensor", "torch"]
