"""Exact attention of a few key tokens, without the N x N matrix: P[i, j] = exp(q_i . k_j / sqrt(d) - lse_i)."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend

BLOCK = 1024
"""Queries and keys that the fallback, and queries that the columns, take at a time."""

SAMPLE = 16
"""Queries whose log-sum-exp is held to the fallback's when a kernel is first met."""

TOLERANCE = 0.02
"""The most that the two may differ by: an attention off by two in a hundred. Another base or scale is off by more."""

HONEST: dict[tuple[Any, ...], bool] = {}
"""Of each (device, kernel, head size, precision) met so far: whether its log-sum-exp is what it should be."""


def with_lse(q: Tensor, k: Tensor, v: Tensor, scale: float | None = None) -> tuple[Tensor, Tensor | None]:
    """softmax(q k^T scale) v and its log-sum-exp, by the very kernel that PyTorch would choose.

    q, k, v (B, H, N, d) to the output (B, H, N, d), bit-identical to `scaled_dot_product_attention`, and the
    log-sum-exp (B, H, N) float32, or None where the chosen kernel keeps it to itself (see `blockwise_lse`): on a
    device other than a CPU or CUDA, and where what it says fails a look at a few queries, once for each kernel.
    """
    known, kernel = None, _kernel(q, k, v, scale)
    key = (q.device, kernel, q.shape[-1], q.dtype)
    if kernel is not None and HONEST.get(key, True):
        known = _fused(kernel, q, k, v, scale)
    if known is None:
        return F.scaled_dot_product_attention(q, k, v, scale=scale), None
    # Kernels pad the queries (to 32) or keep a last axis of one.
    out, lse = known[0], known[1].reshape(*known[1].shape[:2], -1)[..., : q.shape[2]].float()
    if key not in HONEST:
        HONEST[key] = _honest(q, k, lse, scale)
    return out, lse if HONEST[key] else None


def _kernel(q: Tensor, k: Tensor, v: Tensor, scale: float | None) -> SDPBackend | None:
    """The kernel that PyTorch would choose; None where it does not say."""
    if q.device.type not in ("cpu", "cuda"):
        return None  # it has no choice for other devices (MPS)
    try:
        return SDPBackend(torch._fused_sdp_choice(q, k, v, None, 0.0, False, scale=scale))
    except (NotImplementedError, TypeError, AttributeError, ValueError):  # a private function: it may change or go
        return None


def _fused(kernel: SDPBackend, q: Tensor, k: Tensor, v: Tensor, scale: float | None) -> tuple[Tensor, Tensor] | None:
    """Output and log-sum-exp of a kernel, as it gives them; None where it gives no log-sum-exp."""
    aten, place = torch.ops.aten, q.device.type
    try:
        if kernel == SDPBackend.FLASH_ATTENTION and place == "cpu":
            return aten._scaled_dot_product_flash_attention_for_cpu(q, k, v, 0.0, False, scale=scale)
        if kernel == SDPBackend.FLASH_ATTENTION and place == "cuda" and q.shape[-1] % 8 == 0:
            return aten._scaled_dot_product_flash_attention(q, k, v, 0.0, False, False, scale=scale)[:2]
        if kernel == SDPBackend.EFFICIENT_ATTENTION and place == "cuda":
            return aten._scaled_dot_product_efficient_attention(q, k, v, None, True, 0.0, False, scale=scale)[:2]
        if kernel == SDPBackend.CUDNN_ATTENTION and place == "cuda":
            # cuDNN may plan a call that returns the log-sum-exp otherwise, so the output is taken from the plain one.
            out = F.scaled_dot_product_attention(q, k, v, scale=scale)
            return out, aten._scaled_dot_product_cudnn_attention(q, k, v, None, True, 0.0, False, False, scale=scale)[1]
    except (NotImplementedError, TypeError, AttributeError):  # private functions, too
        return None
    return None


def _honest(q: Tensor, k: Tensor, lse: Tensor, scale: float | None) -> bool:
    """Whether the log-sum-exp (B, H, N) of a few queries, spread over all, is the one computed block by block."""
    apart = max(1, q.shape[2] // SAMPLE)
    few = blockwise_lse(q[:, :, ::apart], k, scale)
    return bool(((few - lse[:, :, ::apart]).abs() <= TOLERANCE).all())


def blockwise_lse(q: Tensor, k: Tensor, scale: float | None = None) -> Tensor:
    """lse_i = log sum_j exp(q_i . k_j scale) in float32, a block of queries and keys at a time: (B, H, N)."""
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    rows = []
    for queries in q.split(BLOCK, dim=2):
        lse = torch.full(queries.shape[:3], -torch.inf, device=q.device, dtype=torch.float32)
        for keys in k.split(BLOCK, dim=2):
            scores = (queries.float() * scale) @ keys.float().transpose(-1, -2)
            lse = torch.logaddexp(lse, scores.logsumexp(-1))
        rows.append(lse)
    return torch.cat(rows, dim=2)


def token_attention(
    q: Tensor, k: Tensor, lse: Tensor | None, tokens: Tensor, keys: int, scale: float | None = None
) -> Tensor:
    """Mean over heads and tokens of the softmax columns P[:, tokens], in float32.

    q (B, H, N, d), k (B, H, M, d), to (B, N). With `lse` (B, H, N) the softmax runs over all keys; without, over
    the first `keys` of them (the unpadded text), of which the tokens are some. Memory O(N), never N x M.
    """
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    some = k[:, :, tokens] if lse is not None else k[:, :, :keys]
    some = some.float().transpose(-1, -2)
    parts = []
    for start in range(0, q.shape[2], BLOCK):
        scores = (q[:, :, start : start + BLOCK].float() * scale) @ some
        if lse is None:
            attention = scores.softmax(-1)[..., tokens]
        else:
            attention = torch.exp(scores - lse[:, :, start : start + BLOCK, None])
        parts.append(attention.mean((1, 3)))
    return torch.cat(parts, dim=1)
