"""Exact attention of a few key tokens, without the N x N matrix: P[i, j] = exp(q_i . k_j / sqrt(d) - lse_i)."""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend

BLOCK = 1024
"""Queries and keys that the fallback, and queries that the columns, take at a time."""


def with_lse(q: Tensor, k: Tensor, v: Tensor, scale: float | None = None) -> tuple[Tensor, Tensor | None]:
    """softmax(q k^T scale) v and its log-sum-exp, by the very kernel that PyTorch would choose.

    q, k, v (B, H, N, d) to the output (B, H, N, d), bit-identical to `scaled_dot_product_attention`, and the
    log-sum-exp (B, H, N) float32, or None where the chosen kernel keeps it to itself (see `blockwise_lse`).
    """
    d = q.shape[-1]
    choice = SDPBackend(torch._fused_sdp_choice(q, k, v, None, 0.0, False, scale=scale))
    aten = torch.ops.aten
    if choice == SDPBackend.FLASH_ATTENTION and q.device.type == "cpu":
        out, lse = aten._scaled_dot_product_flash_attention_for_cpu(q, k, v, 0.0, False, scale=scale)
    elif choice == SDPBackend.FLASH_ATTENTION and q.device.type == "cuda" and d % 8 == 0:
        out, lse = aten._scaled_dot_product_flash_attention(q, k, v, 0.0, False, False, scale=scale)[:2]
    elif choice == SDPBackend.EFFICIENT_ATTENTION and q.device.type == "cuda":
        out, lse = aten._scaled_dot_product_efficient_attention(q, k, v, None, True, 0.0, False, scale=scale)[:2]
    elif choice == SDPBackend.CUDNN_ATTENTION and q.device.type == "cuda":
        # cuDNN may plan a call that returns the log-sum-exp otherwise, so the output is taken from the plain one.
        out = F.scaled_dot_product_attention(q, k, v, scale=scale)
        lse = aten._scaled_dot_product_cudnn_attention(q, k, v, None, True, 0.0, False, False, scale=scale)[1]
    else:
        return F.scaled_dot_product_attention(q, k, v, scale=scale), None
    # Kernels pad the queries (to 32) or keep a last axis of one.
    return out, lse.reshape(*lse.shape[:2], -1)[..., : q.shape[2]].float()


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
