"""Attention maps to hard sites: pooling, smoothing, thresholds."""

from collections.abc import Callable

from einops import rearrange

from flowedit.messages import InputError
from flowedit.tensors import F, Tensor, torch

TINY = 1e-30

TIMES = 2.0
"""How many times what a map is elsewhere it is where something depends on an object: of 1.5 to 2.5 on tuning scenes."""


def pool(maps: Tensor, size: int) -> Tensor:
    """Mean over an odd size x size window around each site, borders not counted; (B, K, F, H, W) to the same.

    Source: FlowDirector (arXiv 2506.05046), 11 x 11 at 60 x 104 sites there, zeros beyond the border counted.
    """
    if size == 1:
        return maps
    b = maps.shape[0]
    flat = F.avg_pool2d(rearrange(maps, "b c f h w -> (b f) c h w"), size, 1, size // 2, count_include_pad=False)
    return rearrange(flat, "(b f) c h w -> b c f h w", b=b)


def smooth_time(maps: Tensor, frames: float) -> Tensor:
    """Gaussian of standard deviation `frames` along the frame axis, borders repeated; (B, K, F, H, W) to the same.

    Ours.
    """
    if frames == 0 or maps.shape[2] == 1:
        return maps
    reach = max(1, int(3 * frames + 0.5))
    offsets = torch.arange(-reach, reach + 1, device=maps.device, dtype=maps.dtype)
    kernel = torch.exp(-0.5 * (offsets / frames) ** 2)
    padded = torch.cat([maps[:, :, :1]] * reach + [maps] + [maps[:, :, -1:]] * reach, dim=2)
    flat = F.conv3d(padded.flatten(0, 1)[:, None], (kernel / kernel.sum()).view(1, 1, -1, 1, 1))
    return flat.view(maps.shape)


def threshold(
    maps: Tensor, how: str, quantile: float = 0.5, size: int = 1, own: slice = slice(None), level: float = 1.0
) -> Tensor:
    """1 where the pooled map exceeds `level` times its threshold: (B, K, F, H, W) non-negative to {0, 1} float32.

    `how` is a name of `THRESHOLDS`. Raises InputError for another one.
    """
    if how not in THRESHOLDS:
        raise InputError(f"mask.threshold {how!r} is not one of {', '.join(THRESHOLDS)}")
    pooled = pool(maps, size)
    least = level * THRESHOLDS[how](maps, pooled.flatten(3), quantile, own)
    return (pooled > least[..., None, None]).to(torch.float32)


def clip_mean(maps: Tensor, sites: Tensor, quantile: float, own: slice) -> Tensor:
    """The mean of the unpooled map over the latent frames `own`, those of the clip, (B, K, 1).

    So a frame without the object may stay empty (after FlowDirector, arXiv 2506.05046; its pooling, unlike ours, counts
    zeros beyond the border, which hold masks off it).
    """
    return maps[:, :, own].mean((2, 3, 4), keepdim=True)[..., 0, 0]


THRESHOLDS: dict[str, Callable[[Tensor, Tensor, float, slice], Tensor]] = {
    "mean": clip_mean,
    "quantile": lambda maps, sites, quantile, own: sites.quantile(quantile, dim=3),
    "otsu": lambda maps, sites, quantile, own: otsu(sites),
}
"""Thresholds (B, K, F) or (B, K, 1) by (maps, sites, quantile, own): maps (B, K, F, H, W), pooled sites (B, K, F, N).

`mean` is the clip's; a frame at a time, `quantile` is that quantile of the pooled map, and `otsu` the value that parts
its sites into the two classes of least inner variance (Otsu 1979).
"""


def otsu(sites: Tensor) -> Tensor:
    """The largest value of the lower class at which n0 n1 (m0 - m1)^2 is greatest, (..., N) to (...)."""
    values = sites.sort(-1).values
    n = values.shape[-1]
    below = torch.arange(1, n, device=values.device, dtype=values.dtype)
    sums = values.cumsum(-1)
    low = sums[..., :-1] / below
    high = (sums[..., -1:] - sums[..., :-1]) / (n - below)
    between = below * (n - below) * (high - low).square()
    return values.gather(-1, between.argmax(-1, keepdim=True)).squeeze(-1)


def outstanding(maps: Tensor, held: Tensor, own: slice = slice(None)) -> Tensor:
    """1 where a map exceeds `TIMES` its median over the sites of the clip that are not held, 0 elsewhere.

    (B, K, F, H, W) and `held` (1, 1, F, H, W) in {0, 1} to (B, K, F, H, W) float32; the median is over the latent
    frames `own`. All 0 where every site is held. Ours.
    """
    beyond = maps[:, :, own].masked_fill(held[:, :, own] > 0, torch.nan)
    level = TIMES * beyond.flatten(2).nanmedian(-1).values
    return (maps > level[..., None, None, None]).to(torch.float32)


def sharpened(maps: Tensor, change: Tensor, share: float, own: slice = slice(None)) -> Tensor:
    """R = (A / mean A)^(1 - s) (S / mean S)^s: words' maps A (B, K, F, H, W) with a share s of the change S, 0 to 1.

    S (1, 1, F, H, W) is `DifferenceMap`'s; the means are over the latent frames `own`. Words say which object it is, at
    the size of their tokens; S says where something changes, at that of the latent. Ours.
    """
    return strength(maps, own=own) ** (1.0 - share) * strength(change, own=own) ** share


def strength(maps: Tensor, size: int = 1, own: slice = slice(None)) -> Tensor:
    """A map in units of its own mean, so that objects can be compared: R = pool(A) / mean_{f in own, h, w}(A)."""
    return pool(maps, size) / maps[:, :, own].mean((2, 3, 4), keepdim=True).clamp_min(TINY)
