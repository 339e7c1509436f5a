"""What a text encoder makes of a prompt: its tokens, and each word's state, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from flowedit.backbones.text import TextEncoder
from flowedit.language.words import content_words, token_indices
from flowedit.messages import InputError

MOST_WORDS = 12
"""So many of a prompt's words are studied: pictures of more are not looked at."""

TINY = 1e-12


@dataclass(frozen=True, eq=False)
class PromptStudy:
    """A prompt's tokens, and of each of W words what its state is in L layers; the last column of `reach` is padding.

    similarity (L, W, W): cosines between words. norms (L, W). kept (L, W): the cosine of a word's state with its own
    embedding. spread (L, W): how far the other words' states move, as a share of their norm, when the word is blanked.
    reach (W, W + 1): of each blanked word, how far each word moves in the last layer, and the padding; NaN at itself,
    and where the network is given no state of padding. The layers are those of the first text encoder; the last,
    "output", is what the network is given of it. width: that of all that it is given of a token.
    """

    prompt: str
    pieces: tuple[str, ...]
    length: int
    width: int
    words: tuple[str, ...]
    left_out: tuple[str, ...]
    tokens: tuple[tuple[int, ...], ...]
    layers: tuple[str, ...]
    similarity: np.ndarray
    norms: np.ndarray
    kept: np.ndarray
    spread: np.ndarray
    reach: np.ndarray

    def plain(self) -> dict[str, Any]:
        """Its numbers for JSON."""
        return {
            "prompt": self.prompt,
            "tokens": list(self.pieces),
            "text_length": self.length,
            "width": self.width,
            "words": {word: list(tokens) for word, tokens in zip(self.words, self.tokens, strict=True)},
            "layers": list(self.layers),
            **{name: _numbers(getattr(self, name)) for name in ("similarity", "norms", "kept", "spread", "reach")},
        }


def read_prompt(text: TextEncoder, prompt: str, first: str = "") -> PromptStudy:
    """The study of a prompt by a text encoder, which reads it once, and once more without each of its words.

    The words of `first` are studied in any case. Raises InputError for a prompt in which no word names anything.
    """
    spans, named = text.spans(prompt), content_words(prompt)
    if not named:
        raise InputError(f"the prompt {prompt!r} names nothing: write what the clip shows, such as 'a fox runs'")
    wanted = set(token_indices(prompt, first, spans, "source_words"))
    places = {word: tuple(token_indices(prompt, word, spans)) for word in named}
    words = sorted(sorted(named, key=lambda word: not wanted.intersection(places[word]))[:MOST_WORDS], key=named.index)
    tokens = [places[word] for word in words]
    own = len(spans)

    def states(x: Tensor) -> tuple[Tensor, Tensor]:
        x = x.float().cpu()
        return torch.stack([x[list(each)].mean(0) for each in tokens]), x[own:]

    whole = text.layers(prompt, states)
    vectors = torch.stack([words_ for words_, _ in whole.values()])  # (L, W, D)
    moved, padding = [], []
    for each in tokens:
        without = text.layers(prompt, states, each)
        moved.append(torch.stack([shift(before, after) for before, after in _pairs(whole, without, 0)]))
        padding.append([shift(before, after).mean() for before, after in _pairs(whole, without, 1)][-1])
    shifts = torch.stack(moved, 1)  # (L, W blanked, W)
    others = ~torch.eye(len(words), dtype=torch.bool)
    spread = (shifts * others).sum(2) / max(len(words) - 1, 1)
    last = shifts[-1].masked_fill(~others, torch.nan)
    pad = torch.stack(padding)[:, None]  # NaN where nothing is padded
    if text.reading.padding != "read":
        pad = pad.new_full(pad.shape, torch.nan)  # the network is given none of it
    return PromptStudy(
        prompt=prompt,
        pieces=tuple(text.pieces(prompt)),
        length=text.reading.length,
        width=text.embed(prompt).embedding.shape[2],
        words=tuple(words),
        left_out=tuple(word for word in named if word not in words),
        tokens=tuple(tokens),
        layers=tuple(whole),
        similarity=np.stack([similarity(layer).numpy() for layer in vectors]),
        norms=vectors.norm(dim=2).numpy(),
        kept=cosine(vectors, vectors[:1]).numpy(),
        spread=spread.numpy(),
        reach=torch.cat([last, pad], 1).numpy(),
    )


def similarity(vectors: Tensor) -> Tensor:
    """Cosines of all pairs, (W, D) to (W, W); 1 for equal vectors."""
    return cosine(vectors[:, None], vectors[None])


def cosine(one: Tensor, other: Tensor) -> Tensor:
    """a.b / (|a| |b|) along the last axis, -1 to 1."""
    return (one * other).sum(-1) / (one.norm(dim=-1) * other.norm(dim=-1)).clamp_min(TINY)


def shift(before: Tensor, after: Tensor) -> Tensor:
    """|b - a| / |a| along the last axis: how far states move, as a share of what they were."""
    return (after - before).norm(dim=-1) / before.norm(dim=-1).clamp_min(TINY)


def _pairs(one: dict[str, Any], other: dict[str, Any], part: int) -> list[tuple[Tensor, Tensor]]:
    return [(one[layer][part], other[layer][part]) for layer in one]


def _numbers(values: np.ndarray) -> Any:
    """Nested lists of plain numbers; what is none is null."""
    if values.ndim:
        return [_numbers(each) for each in values]
    return round(float(values), 5) if np.isfinite(values) else None


def middle(layers: Sequence[str]) -> list[int]:
    """The first layer, one in the middle and the last, each once."""
    return sorted({0, len(layers) // 2, len(layers) - 1})
