"""Attention maps or a user's mask to soft masks (1, 1, F, H, W), 1 where the clip is to be edited; one an object."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

THRESHOLDS = ("mean", "quantile", "otsu")
TINY = 1e-30


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


def threshold(maps: Tensor, how: str, quantile: float = 0.5, size: int = 1, own: slice = slice(None)) -> Tensor:
    """1 where the pooled map exceeds its threshold: (B, K, F, H, W) non-negative to {0, 1} float32.

    `mean`: the mean of the unpooled map over the latent frames `own`, those of the clip, so that a frame without the
    object may stay empty (after FlowDirector, arXiv 2506.05046; its pooling, unlike ours, counts zeros beyond the
    border, which hold masks off it). A frame at a time, `quantile`: that quantile of the pooled map; `otsu`: the level
    that parts the pooled map's sites into the two classes of least inner variance (Otsu 1979).
    """
    pooled = pool(maps, size)
    sites = pooled.flatten(3)
    if how == "mean":
        level = maps[:, :, own].mean((2, 3, 4), keepdim=True)[..., 0, 0]
    elif how == "quantile":
        level = sites.quantile(quantile, dim=3)
    elif how == "otsu":
        level = otsu(sites)
    else:
        raise ValueError(f"mask.threshold {how!r} is not one of {', '.join(THRESHOLDS)}")
    return (pooled > level[..., None, None]).to(torch.float32)


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


def distance(binary: Tensor) -> Tensor:
    """Exact Euclidean distance of every site to the nearest 1 of its frame, in sites; inf in a frame without any.

    (B, 1, F, H, W) to the same, on the tensor's device: a one-dimensional transform along rows, then the lower
    envelope of parabolas along columns by brute force (Felzenszwalb & Huttenlocher 2012), O(H W (H + W)) a frame.
    """
    h, w = binary.shape[-2:]
    row_cost = _squares(w, binary)
    column_cost = _squares(h, binary)
    frames = rearrange(binary, "b c f h w -> (b c f) h w")
    far = torch.full_like(frames, torch.inf).masked_fill(frames > 0, 0.0)
    out = torch.empty_like(far)
    for i, frame in enumerate(far):  # a frame at a time: the brute force takes H W (H + W) values
        along = (frame[:, None, :] + row_cost).amin(-1)
        out[i] = (along.T[:, None, :] + column_cost).amin(-1).T.sqrt()
    return out.view(binary.shape)


def soften(binary: Tensor, decay: float) -> Tensor:
    """M + (1 - M) exp(-decay d), d the distance in sites: (B, 1, F, H, W) to the same; decay = inf leaves M hard.

    Source: FlowDirector (arXiv 2506.05046), decay = lambda = 0.25 a site at 60 x 104 sites.
    """
    d = distance(binary)
    return torch.where(binary > 0, binary, torch.exp(-decay * d.clamp_min(1e-6)))


def grown(binary: Tensor, reach: float) -> Tensor:
    """1 at every site within `reach` sites of a 1 of its frame: (B, K, F, H, W) in {0, 1} to the same."""
    return binary if reach == 0 else (distance(binary) <= reach + 1e-4).to(binary.dtype)


def union(masks: Sequence[Tensor]) -> Tensor:
    """max over masks and over their rows: several (B, K, F, H, W) to one (1, K, F, H, W).

    Source: FlowDirector (arXiv 2506.05046), which unites words, sides and samples so.
    """
    return torch.cat(list(masks)).amax(0, keepdim=True)


def strength(maps: Tensor, size: int = 1, own: slice = slice(None)) -> Tensor:
    """How strong a map is beside its own mean, so that objects compare: R = pool(A) / mean_{f in own, h, w}(A)."""
    return pool(maps, size) / maps[:, :, own].mean((2, 3, 4), keepdim=True).clamp_min(TINY)


def contest(hard: Tensor, strengths: Tensor) -> Tensor:
    """Each site to the strongest of the objects that hold it, the first of equals: (K, 1, F, H, W) to the same.

    H'_k = H_k where k = argmax_{j: H_j = 1} R_j, else 0: the larger attention wins, R as `strength` gives it.
    """
    if len(hard) == 1:
        return hard
    owner = strengths.masked_fill(hard == 0, -torch.inf).argmax(0)
    return hard * (owner == torch.arange(len(hard), device=hard.device).view(-1, 1, 1, 1, 1))


def apart(hard: Tensor, decay: float) -> Tensor:
    """The soft masks of objects that share no hard site: (K, 1, F, H, W) to the same, their sum at most 1.

    s_k = soften(H_k), 0 at the hard sites of the others; M_k = s_k max_j s_j / sum_j s_j. So M_k = 1 where k holds, and
    sum_k M_k = soften(union_k H_k): where skirts meet, they share what one mask of all would have.
    """
    soft = soften(hard, decay)
    held = hard.amax(0, keepdim=True)
    soft = torch.where(held > hard, torch.zeros_like(soft), soft)
    total = soft.sum(0, keepdim=True)
    return torch.where(total > 0, soft / total, torch.zeros_like(soft)) * soft.amax(0, keepdim=True)


def to_latent(mask: Tensor, frames_per_latent: int, size: tuple[int, int]) -> Tensor:
    """A mask on pixels to the latent grid: frames (F, H, W) in [0, 1] to (1, 1, F', h, w).

    The first frame has a latent frame of its own, as the causal VAE encodes it; the mean over space, the largest
    over the frames that share a latent, so that nothing that moves within them is lost.
    """
    small = F.interpolate(mask[:, None].float(), size=size, mode="area")[:, 0]
    first, rest = small[:1], small[1:]
    grouped = rearrange(rest, "(f g) h w -> f g h w", g=frames_per_latent).amax(1)
    return torch.cat([first, grouped])[None, None]


def to_pixels(mask: Tensor, frames: Sequence[int], frames_per_latent: int, size: tuple[int, int]) -> Tensor:
    """The way back for some frames: (1, 1, F', h, w) to (f, H, W), each frame its latent's mask, bilinear in space."""
    places = [0 if frame == 0 else 1 + (frame - 1) // frames_per_latent for frame in frames]
    held = mask[0, 0, places][:, None]
    return F.interpolate(held, size=size, mode="bilinear", align_corners=False)[:, 0].clamp(0, 1)


def cut(mask: Tensor, floor: float) -> Tensor:
    """(M - floor) / (1 - floor), at least 0: a soft mask, any shape, of which what lies below `floor` counts as 0."""
    return ((mask - floor) / (1.0 - floor)).clamp(0.0, 1.0)


class AttentionMask:
    """The mask of each step from the maps that the recorder gathered; remembers what smoothing over steps needs.

    `sides`: for source and target, a function that gives the newest maps (rows, K, F, H, W), one for each object, or
    None before any; `shown`: for each side the objects of its maps, all K by default. An object holds the sites of
    either side, and the first side that has its map says whose they are where objects meet (`contest`). `kept`: for
    each object whether it is kept: it takes sites from the others and is not edited. `user`: a user's soft mask
    (1, 1, F, H, W), edited too, over kept objects as well. Sizes are in latent sites; means over time count the latent
    frames `own`. After the edit, `vote()` is the mask of the sites that most steps held, and `voted()` that of each
    object.
    """

    def __init__(
        self,
        sides: Sequence[Callable[[], Tensor | None]],
        *,
        threshold: str,
        quantile: float,
        pool: int,
        grow: float,
        decay: float,
        smooth_frames: float,
        smooth_steps: float,
        over_draws: str,
        own: slice = slice(None),
        user: Tensor | None = None,
        kept: Sequence[bool] = (False,),
        shown: Sequence[Sequence[int]] | None = None,
    ) -> None:
        self._sides = list(sides)
        self._threshold, self._quantile, self._pool, self._decay = threshold, quantile, pool, decay
        self._smooth_frames, self._smooth_steps, self._over_draws = smooth_frames, smooth_steps, over_draws
        self._own, self._user, self._grow = own, user, grow
        self._objects = len(kept)
        self._shown = [list(range(len(kept)))] * len(self._sides) if shown is None else [list(each) for each in shown]
        self._edited = [k for k, stays in enumerate(kept) if not stays]
        self._maps: list[Tensor | None] = [None] * len(self._sides)
        self._pending: list[list[Tensor]] = [[] for _ in self._sides]
        self._votes: Tensor | None = None
        self._steps = 0

    def __call__(self, step: int) -> Tensor:
        """The soft mask (1, 1, F, H, W) of this step, all edited objects together, by its evaluations' mean."""
        self._gather()
        for i, taken in enumerate(self._pending):
            if taken:
                self._maps[i] = self._smoothed(i, torch.stack(taken).mean(0))
                taken.clear()
        hard = self._hard(self._maps)
        self._votes = hard if self._votes is None else self._votes + hard
        self._steps += 1
        return self._together(hard)

    def weights(self) -> Tensor:
        """W_k = M_k / M of the newest maps, (K, 1, F, H, W) for the edited objects, and the user's share last.

        M is their sum joined with the user's mask; where it is 0 all count alike. The step's mask is not changed by it.
        """
        self._gather()
        newest = [self._smoothed(i, taken[-1]) if taken else self._maps[i] for i, taken in enumerate(self._pending)]
        soft = apart(self._hard(newest), self._decay)[self._edited]
        if self._user is not None:
            soft = torch.cat([soft, (self._user - soft.sum(0, keepdim=True)).clamp_min(0.0)])
        total = soft.sum(0, keepdim=True)
        return torch.where(total > 0, soft / total, torch.full_like(soft, 1.0 / len(soft)))

    def vote(self) -> Tensor | None:
        """The soft mask of the sites that at least half of the steps held, ours; None before the first step."""
        hard = self._elected()
        return None if hard is None else self._together(hard)

    def voted(self) -> Tensor | None:
        """The same for each object, kept ones too, (K, 1, F, H, W), whose hard sites are its own."""
        hard = self._elected()
        return None if hard is None else apart(hard, self._decay)

    def _together(self, hard: Tensor) -> Tensor:
        mask = apart(hard, self._decay)[self._edited].sum(0, keepdim=True)
        return mask if self._user is None else torch.maximum(mask, self._user)

    def _elected(self) -> Tensor | None:
        """What most steps held: first for the edited objects together, by whose votes are most, then for kept ones."""
        if self._votes is None:
            return None
        changed = torch.zeros_like(self._votes[:, :1, :1, :1, :1], dtype=torch.bool)
        changed[self._edited] = True
        votes = self._votes
        ours = (votes * changed).sum(0, keepdim=True) >= 0.5 * self._steps
        most = contest((ours & changed).to(torch.float32), votes)
        kept = ~ours & ~changed & (votes >= 0.5 * self._steps)
        return torch.maximum(most, contest(kept.to(torch.float32), votes))

    def _hard(self, sides: Sequence[Tensor | None]) -> Tensor:
        """The hard sites of each object, (K, 1, F, H, W), no two of one site."""
        found = [(maps, places) for maps, places in zip(sides, self._shown, strict=True) if maps is not None]
        shape = (1, self._objects, *found[0][0].shape[2:])
        hard, strengths = (torch.zeros(shape, device=found[0][0].device) for _ in range(2))
        # The source's maps decide, last here: the target's words look for their objects in what is not there yet.
        for maps, places in reversed(found):
            own = union([threshold(maps, self._threshold, self._quantile, self._pool, self._own)])
            hard[:, places] = torch.maximum(hard[:, places], own)
            strengths[:, places] = union([strength(maps, self._pool, self._own)]).to(strengths.dtype)
        return contest(grown(hard, self._grow).transpose(0, 1), strengths.transpose(0, 1))

    def _gather(self) -> None:
        """Take what each side has gathered: a step's mask needs all its evaluations, though weights look at each."""
        for taken, side in zip(self._pending, self._sides, strict=True):
            if (maps := side()) is not None:
                taken.append(maps)

    def _smoothed(self, side: int, new: Tensor) -> Tensor:
        """New maps of a side, smoothed over frames and with those of the steps before."""
        old = self._maps[side]
        if self._over_draws == "mean":
            new = new.mean(0, keepdim=True)
        new = smooth_time(new, self._smooth_frames)
        if old is None or old.shape != new.shape:
            return new
        return self._smooth_steps * old + (1.0 - self._smooth_steps) * new


def _squares(n: int, like: Tensor) -> Tensor:
    places = torch.arange(n, device=like.device, dtype=torch.float32)
    return (places[:, None] - places[None, :]).square()
