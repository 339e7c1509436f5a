"""Exact attention of a few key tokens, without the N x N matrix: P[i, j] = exp(q_i . k_j / sqrt(d) - lse_i)."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend

from flowedit.machine import out_of_memory

BLOCK = 1024
"""Queries and keys that the fallback, and queries that the columns, take at a time."""

SAMPLE = 16
"""Queries whose log-sum-exp is held to the fallback's when a kernel is first met."""

TOLERANCE = 0.02
"""The most that the two may differ by: an attention off by two in a hundred. Another base or scale is off by more."""

HONEST: dict[tuple[Any, ...], bool] = {}
"""Of each (device, kernel, head size, precision, masked or not) met so far: whether its log-sum-exp is what it should
be."""

ALIGNED = 8
"""Keys in multiples of which CUDA's kernels want a mask's rows to lie in memory."""

ALL = slice(None)


def video_part(text: int) -> slice:
    """The video's tokens in a sequence that begins with `text` tokens of text, or ends with `-text` of them."""
    return slice(text, None) if text >= 0 else slice(None, text)


def text_part(text: int) -> slice:
    """The text's tokens in it; all for 0, where text is in a sequence of its own."""
    return slice(None, text or None) if text >= 0 else slice(text, None)


def mask_part(mask: Tensor | None, rows: slice = ALL, queries: slice = ALL, keys: slice = ALL) -> Tensor | None:
    """A part of a mask (B or 1, H or 1, N or 1, M); an axis of one is of all."""
    if mask is None:
        return None
    rows, queries = (ALL if mask.shape[axis] == 1 else part for axis, part in ((0, rows), (2, queries)))
    return mask[rows, :, queries, keys]


def additive(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """What a mask adds to the logits: of a boolean one, which is true at what is seen, 0 or -inf."""
    if mask.dtype is not torch.bool:
        return mask
    return torch.zeros_like(mask, dtype=dtype).masked_fill_(~mask, -torch.inf)


def with_lse(
    q: Tensor, k: Tensor, v: Tensor, scale: float | None = None, mask: Tensor | None = None
) -> tuple[Tensor, Tensor | None]:
    """softmax(q k^T scale + mask) v and its log-sum-exp, by the very kernel that PyTorch would choose.

    q, k, v (B, H, N, d) to the output (B, H, N, d), bit-identical to `scaled_dot_product_attention`, and the
    log-sum-exp (B, H, N) float32, or None where the chosen kernel keeps it to itself (see `blockwise_lse`): on a
    device other than a CPU or CUDA, and where what it says fails a look at a few queries, once for each kernel.
    `mask` (B or 1, H or 1, N or 1, M): true at the keys that are seen, or what is added to the logits.
    """
    known, kernel = None, _kernel(q, k, v, scale, mask)
    key = (q.device, kernel, q.shape[-1], q.dtype, mask is None)
    if kernel is not None and HONEST.get(key, True):
        known = _fused(kernel, q, k, v, scale, mask)
    if known is None:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale), None
    # Kernels pad the queries (to 32) or keep a last axis of one.
    out, lse = known[0], known[1].reshape(*known[1].shape[:2], -1)[..., : q.shape[2]].float()
    if key not in HONEST:
        HONEST[key] = _honest(q, k, lse, scale, mask)
    return out, lse if HONEST[key] else None


def _kernel(q: Tensor, k: Tensor, v: Tensor, scale: float | None, mask: Tensor | None) -> SDPBackend | None:
    """The kernel that PyTorch would choose; None where it does not say."""
    if q.device.type not in ("cpu", "cuda"):
        return None  # it has no choice for other devices (MPS)
    try:
        return SDPBackend(torch._fused_sdp_choice(q, k, v, mask, 0.0, False, scale=scale))
    except (NotImplementedError, TypeError, AttributeError, ValueError):  # a private function: it may change or go
        return None


def _fused(
    kernel: SDPBackend, q: Tensor, k: Tensor, v: Tensor, scale: float | None, mask: Tensor | None
) -> tuple[Tensor, Tensor] | None:
    """Output and log-sum-exp of a kernel, as it gives them; None where it gives no log-sum-exp."""
    aten, place = torch.ops.aten, q.device.type
    try:
        if kernel == SDPBackend.FLASH_ATTENTION and place == "cpu":
            bias = None if mask is None else additive(mask, q.dtype)
            return aten._scaled_dot_product_flash_attention_for_cpu(q, k, v, 0.0, False, attn_mask=bias, scale=scale)
        if kernel == SDPBackend.FLASH_ATTENTION and place == "cuda" and q.shape[-1] % 8 == 0 and mask is None:
            return aten._scaled_dot_product_flash_attention(q, k, v, 0.0, False, False, scale=scale)[:2]
        if kernel == SDPBackend.EFFICIENT_ATTENTION and place == "cuda":
            bias = _whole(mask, q, k)
            return aten._scaled_dot_product_efficient_attention(q, k, v, bias, True, 0.0, False, scale=scale)[:2]
        if kernel == SDPBackend.CUDNN_ATTENTION and place == "cuda":
            # cuDNN may plan a call that returns the log-sum-exp otherwise, so the output is taken from the plain one.
            out, bias = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale), _whole(mask, q, k)
            return out, aten._scaled_dot_product_cudnn_attention(q, k, v, bias, True, 0.0, False, False, scale=scale)[1]
    except (NotImplementedError, TypeError, AttributeError):  # private functions, too
        return None
    except RuntimeError as error:  # a mask that a kernel does not take
        if mask is None or out_of_memory(error):
            raise
    return None


def _whole(mask: Tensor | None, q: Tensor, k: Tensor) -> Tensor | None:
    """What a mask adds to the logits, seen as (B, H, N, M), as PyTorch gives it to CUDA's kernels: rows aligned."""
    if mask is None:
        return None
    bias, keys = additive(mask, q.dtype).to(q.dtype), k.shape[2]
    return F.pad(bias, (0, -keys % ALIGNED))[..., :keys].expand(*q.shape[:3], keys)


def _honest(q: Tensor, k: Tensor, lse: Tensor, scale: float | None, mask: Tensor | None) -> bool:
    """Whether the log-sum-exp (B, H, N) of a few queries, spread over all, is the one computed block by block."""
    apart = max(1, q.shape[2] // SAMPLE)
    few = blockwise_lse(q[:, :, ::apart], k, scale, mask_part(mask, queries=slice(None, None, apart)))
    return bool(((few - lse[:, :, ::apart]).abs() <= TOLERANCE).all())


def blockwise_lse(q: Tensor, k: Tensor, scale: float | None = None, mask: Tensor | None = None) -> Tensor:
    """lse_i = log sum_j exp(q_i . k_j scale + mask_ij) in float32, a block of queries and keys at a time: (B, H, N)."""
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    rows = []
    for start in range(0, q.shape[2], BLOCK):
        here = slice(start, start + BLOCK)
        queries = q[:, :, here].float() * scale
        lse = torch.full(queries.shape[:3], -torch.inf, device=q.device, dtype=torch.float32)
        for first in range(0, k.shape[2], BLOCK):
            there = slice(first, first + BLOCK)
            scores = queries @ k[:, :, there].float().transpose(-1, -2)
            lse = torch.logaddexp(lse, masked(scores, mask_part(mask, queries=here, keys=there)).logsumexp(-1))
        rows.append(lse)
    return torch.cat(rows, dim=2)


def masked(scores: Tensor, mask: Tensor | None) -> Tensor:
    """Logits with their mask; what is not seen is -inf."""
    return scores if mask is None else scores + additive(mask, scores.dtype)


def token_attention(
    q: Tensor,
    k: Tensor,
    lse: Tensor | None,
    tokens: Tensor,
    keys: int,
    scale: float | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """Mean over heads and tokens of the softmax columns P[:, tokens], in float32.

    q (B, H, N, d), the text's keys k (B, H, M, d) and their `mask`, to (B, N). With `lse` (B, H, N) the softmax is the
    one whose log-sum-exp that is; without, over the first `keys` of them (the unpadded text), of which the tokens are
    some. Memory O(N), never N x M.
    """
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    seen = slice(keys) if lse is None else tokens
    some = k[:, :, seen].float().transpose(-1, -2)
    mask = mask if mask is None else mask[..., seen]
    parts = []
    for start in range(0, q.shape[2], BLOCK):
        here = slice(start, start + BLOCK)
        scores = masked((q[:, :, here].float() * scale) @ some, mask_part(mask, queries=here))
        attention = scores.softmax(-1)[..., tokens] if lse is None else torch.exp(scores - lse[:, :, here, None])
        parts.append(attention.mean((1, 3)))
    return torch.cat(parts, dim=1)
