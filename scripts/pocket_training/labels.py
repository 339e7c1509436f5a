"""What each token of a clip shows, known exactly because the clip was rendered."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from flowedit.pocket import Scene, Vocabulary


def kinds(learned: Vocabulary) -> int:
    """Return how many labels there are: one for each ground, one for each object in each colour."""
    return len(learned.grounds) + len(learned.classes) * len(learned.tints)


def labels(shown: Scene, learned: Vocabulary, side: int, frames: int) -> np.ndarray:
    """Return the label of each token, uint8 (frames, H / side, W / side).

    A token spans `side` pixels and, after the first, 4 frames. It has the label of the object that covers most of
    it, if that is a fifth of it or more; else the ground's.
    """
    spec = shown.spec
    height, width = (length // side for length in shown.frames.shape[1:3])
    found = np.full((frames, height, width), learned.grounds.index(spec.ground), np.uint8)
    if not spec.things:
        return found
    squares = shown.masks.reshape(*shown.masks.shape[:2], height, side, width, side).mean((3, 5))
    spans = [squares[:, :1], *(squares[:, 1 + 4 * i : 5 + 4 * i] for i in range(frames - 1))]
    share = np.stack([span.mean(1) for span in spans], 1)
    own = [
        len(learned.grounds) + learned.classes.index(thing.kind) * len(learned.tints) + learned.tints.index(thing.tint)
        for thing in spec.things
    ]
    return np.where(share.max(0) >= 0.2, np.array(own, np.uint8)[share.argmax(0)], found)


class LabelHead(torch.nn.Module):
    """A linear map from the tokens of the middle block to their labels; it teaches, and is not exported."""

    def __init__(self, transformer: torch.nn.Module, width: int, count: int):
        super().__init__()
        self.read = torch.nn.Linear(width, count)
        blocks = transformer.transformer_blocks
        blocks[len(blocks) // 2 - 1].register_forward_hook(self._keep)
        self.tokens: Tensor | None = None

    def _keep(self, block: torch.nn.Module, inputs: tuple, output: tuple[Tensor, Tensor]) -> None:
        self.tokens = output[0]

    def forward(self, truth: Tensor) -> Tensor:
        """Return the mean cross-entropy of the last pass; truth: labels (B, tokens)."""
        tokens, self.tokens = self.tokens, None
        return torch.nn.functional.cross_entropy(self.read(tokens.float()).flatten(0, 1), truth.flatten())
