"""Attention whose logits towards the text are bent, exactly and without the N x N matrix."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from flowedit.networks.attention import (
    BLOCK,
    additive,
    blockwise_lse,
    mask_part,
    masked,
    text_part,
    video_part,
    with_lse,
)


@dataclass(frozen=True, eq=False)
class Bend:
    """What is done to the logits A of video queries towards text keys, in this order; each object has sites and words.

    Inside of object o, towards its words W_o, the other words of the prompt, and any query towards a word j of W_o:

        A_ij += anchor_words (max_k A_ik - A_ij), j in W_o;  A_ij -= anchor_words (A_ij - min_k A_ik), j not in W_o
        A_pj += anchor_sites (max_p A_pj - A_pj), p inside;  A_pj -= anchor_sites (A_pj - min_p A_pj), p outside
        A_ij += log(weight), i inside, j in W_o;  A_ij = -inf, i in another object alone, j in W_o (`apart`)

    max and min over k go over the prompt's own tokens, those over p over the video. The first two are FlowAnchor's
    spatial-aware attention refinement (arXiv 2604.22586), whose second rule reads what the first one left; the third is
    StreamGVE's (arXiv 2605.21466); the last IDAttn's (arXiv 2602.08749).
    """

    sites: Tensor
    """(K, n) bool: the video tokens of each object."""
    words: Sequence[Tensor]
    """The text tokens of each object, int64; none for one that goes."""
    unpadded: int
    """How many of the text keys are the prompt's own."""
    edited: Sequence[bool]
    """Which objects are edited: the others are kept, and only `apart` looks at them."""
    anchor_words: float = 0.0
    anchor_sites: float = 0.0
    weight: float = 1.0
    apart: bool = False

    @property
    def objects(self) -> list[tuple[Tensor, Tensor]]:
        """Sites and words of the edited objects that have words."""
        every = zip(self.sites, self.words, self.edited, strict=True)
        return [(sites, words) for sites, words, edited in every if edited and len(words)]

    @property
    def foreign(self) -> Tensor:
        """(K, n) bool: the tokens that belong to other objects alone."""
        return self.sites.any(0) & ~self.sites


def bent_attention(
    q: Tensor, k: Tensor, v: Tensor, scale: float | None, text: int, bend: Bend, mask: Tensor | None = None
) -> Tensor:
    """softmax(A + mask) v with bent logits A towards the text: q, k, v (B, H, N, d) to (B, H, N, d).

    Where `text` is not 0, text and video attend together, its first tokens being text, or, below 0, its last; the block
    of video queries and text keys is made a part at a time and joined to the rest by log-sum-exp. With 0 all keys are
    text, all queries video. `mask` as in `with_lse`. Memory O(N text), never N x N.
    """
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    video, words = video_part(text), text_part(text)
    queries, mask_of_words = q[:, :, video], mask_part(mask, queries=video, keys=words)
    rest = None if not text else _video_attention(queries, k[:, :, video], v[:, :, video], scale, mask, video)
    parts, start = [], 0
    for logits in bent_logits(queries, k[:, :, words], scale, bend):
        here = slice(start, start + logits.shape[2])
        said, said_lse = _softmax(masked(logits, mask_part(mask_of_words, queries=here)), v[:, :, words])
        if rest is not None:
            out, lse = rest
            share = torch.sigmoid(said_lse - lse[:, :, here])[..., None]
            said = torch.lerp(out[:, :, here].float(), said, share)
        parts.append(said.to(v.dtype))
        start = here.stop
    if text:
        own = _text_attention(q[:, :, words], k, v, scale, text, bend, mask_part(mask, queries=words))
        parts = [own, *parts] if text > 0 else [*parts, own]
    return torch.cat(parts, dim=2)


def bent_logits(q: Tensor, k: Tensor, scale: float, bend: Bend) -> "Sequence[Tensor]":
    """The bent logits (B, H, n, L) float32 of video queries towards the text keys, some of the queries at a time.

    They are made one after the other, as they are asked for.
    """
    return _Blocks(q, k, scale, bend)


class _Blocks(Sequence[Tensor]):
    """Blocks of bent logits; what goes over all queries is found once, before the first."""

    def __init__(self, q: Tensor, k: Tensor, scale: float, bend: Bend) -> None:
        self._queries, self._keys = q.split(BLOCK, dim=2), k.float().transpose(-1, -2)
        self._scale, self._bend = scale, bend
        self._ranges: list[tuple[Tensor, Tensor]] = []
        if bend.anchor_sites:
            for _, words in bend.objects:
                columns = torch.cat([self._by_words(i)[..., words] for i in range(len(self))], dim=2)
                self._ranges.append((columns.amax(2, keepdim=True), columns.amin(2, keepdim=True)))

    def __len__(self) -> int:
        return len(self._queries)

    def __getitem__(self, index: int) -> Tensor:  # type: ignore[override]
        bend = self._bend
        if index >= len(self):
            raise IndexError(index)
        here, logits = self._here(index), self._by_words(index)
        for (sites, words), (high, low) in zip(bend.objects, self._ranges, strict=False):
            bound = torch.where(sites[here, None], high, low)
            logits[..., words] = torch.lerp(logits[..., words], bound, bend.anchor_sites)
        if bend.weight != 1.0:
            for sites, words in bend.objects:
                logits[..., words] += math.log(bend.weight) * sites[here, None].float()
        if bend.apart:
            for foreign, words in zip(bend.foreign, bend.words, strict=True):
                logits[..., words] = logits[..., words].masked_fill(foreign[here, None], -torch.inf)
        return logits

    def _here(self, index: int) -> slice:
        start = index * BLOCK
        return slice(start, start + self._queries[index].shape[2])

    def _by_words(self, index: int) -> Tensor:
        """The logits of some queries after the first rule."""
        bend, logits = self._bend, (self._queries[index].float() * self._scale) @ self._keys
        if bend.anchor_words:
            own = logits[..., : bend.unpadded]
            for sites, words in bend.objects:
                named = torch.zeros(bend.unpadded, dtype=torch.bool, device=own.device).index_fill_(0, words, True)
                bound = torch.where(named, own.amax(-1, keepdim=True), own.amin(-1, keepdim=True))
                inside = sites[self._here(index), None]
                own = torch.where(inside, torch.lerp(own, bound, bend.anchor_words), own)
            logits[..., : bend.unpadded] = own
        return logits


def _softmax(logits: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """softmax(A) v in float32, and log sum exp A; 0 and -inf for a query that sees none of the keys."""
    lse = logits.logsumexp(-1)
    return logits.softmax(-1).masked_fill(lse.isneginf()[..., None], 0.0) @ v.float(), lse


def _video_attention(
    q: Tensor, k: Tensor, v: Tensor, scale: float, mask: Tensor | None, video: slice
) -> tuple[Tensor, Tensor]:
    """The attention of the video's queries to the video alone, and its log-sum-exp; `mask` is the whole one."""
    own = mask_part(mask, queries=video, keys=video)
    out, lse = with_lse(q, k, v, scale, own)
    return out, blockwise_lse(q, k, scale, own) if lse is None else lse


def _text_attention(
    q: Tensor, k: Tensor, v: Tensor, scale: float, text: int, bend: Bend, mask: Tensor | None
) -> Tensor:
    """The attention of the text's own queries: plain, but that with `apart` an object's words look at no other's."""
    if not bend.apart:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale)
    seen = torch.ones((abs(text), k.shape[2]), dtype=torch.bool, device=q.device)
    for foreign, words in zip(bend.foreign, bend.words, strict=True):
        seen[words, video_part(text)] = ~foreign
    own = seen if mask is None else masked(additive(seen, q.dtype), mask)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=own, scale=scale)
