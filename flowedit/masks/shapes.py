"""The shape of a mask: distance, soft edges, growth, and which object a site belongs to where several meet."""

from collections.abc import Sequence

from einops import rearrange

from flowedit.masks.growth import Growth
from flowedit.tensors import Tensor, torch


def distance(binary: Tensor) -> Tensor:
    """Exact Euclidean distance of every site to the nearest 1 of its frame, in sites; inf in a frame without any.

    (B, 1, F, H, W) to the same, on the tensor's device: a one-dimensional transform along rows, then the lower
    envelope of parabolas along columns by brute force (Felzenszwalb & Huttenlocher 2012), O(H W (H + W)) a frame.
    """
    h, w = binary.shape[-2:]
    return _least(binary, _offsets(w, binary).square(), _offsets(h, binary).square()).sqrt()


def _least(binary: Tensor, row_cost: Tensor, column_cost: Tensor) -> Tensor:
    """The least cost of the way from a 1 of its frame to each site, (B, 1, F, H, W) to the same; inf without any.

    row_cost (W, W) and column_cost (H, H): of the way along a row and along a column, to the first place from the
    second; the two add up.
    """
    frames = rearrange(binary, "b c f h w -> (b c f) h w")
    far = torch.full_like(frames, torch.inf).masked_fill(frames > 0, 0.0)
    out = torch.empty_like(far)
    for i, frame in enumerate(far):  # a frame at a time: the brute force takes H W (H + W) values
        along = (frame[:, None, :] + row_cost).amin(-1)
        out[i] = (along.T[:, None, :] + column_cost).amin(-1).T
    return out.view(binary.shape)


def soften(binary: Tensor, decay: float) -> Tensor:
    """M + (1 - M) exp(-decay d), d the distance in sites: (B, 1, F, H, W) to the same; decay = inf leaves M hard.

    Source: FlowDirector (arXiv 2506.05046), decay = lambda = 0.25 a site at 60 x 104 sites.
    """
    d = distance(binary)
    return torch.where(binary > 0, binary, torch.exp(-decay * d.clamp_min(1e-6)))


def grow(binary: Tensor, reach: float | Growth) -> Tensor:
    """1 at every site within `reach` sites of a 1 of its frame: (B, K, F, H, W) in {0, 1} to the same.

    By other reaches to each side, at every site (dy, dx) from a 1 with (dy / r_y)^2 + (dx / r_x)^2 <= 1: r_y is that
    down for dy > 0 and that up for dy < 0, r_x that to the right or to the left. Ours.
    """
    if isinstance(reach, float | int):
        return binary if reach == 0 else (distance(binary) <= reach + 1e-4).to(binary.dtype)
    if reach.up == reach.down == reach.left == reach.right:
        return grow(binary, reach.up)
    h, w = binary.shape[-2:]
    across, down = _shares(w, reach.left, reach.right, binary), _shares(h, reach.up, reach.down, binary)
    return (_least(binary, across.square(), down.square()) <= 1).to(binary.dtype)


def close(binary: Tensor, reach: float) -> Tensor:
    """Grown by `reach` sites and shrunk again: (B, K, F, H, W) in {0, 1} to the same, with narrow gaps filled.

    What lies beyond the border counts as inside when it shrinks, so that nothing of a mask at the border is lost.
    """
    return binary if reach == 0 else (distance(1.0 - grow(binary, reach)) > reach + 1e-4).to(binary.dtype)


def union(masks: Sequence[Tensor]) -> Tensor:
    """max over masks and over their rows: several (B, K, F, H, W) to one (1, K, F, H, W).

    Source: FlowDirector (arXiv 2506.05046), which unites words, sides and samples so.
    """
    return torch.cat(list(masks)).amax(0, keepdim=True)


def contest(hard: Tensor, strengths: Tensor) -> Tensor:
    """Each site to the strongest of the objects that have it, the first of equals: (K, 1, F, H, W) to the same.

    H'_k = H_k where k = argmax_{j: H_j = 1} R_j, else 0: the larger attention wins, R as `strength` gives it.
    """
    if len(hard) == 1:
        return hard
    owner = strengths.masked_fill(hard == 0, -torch.inf).argmax(0)
    return hard * (owner == torch.arange(len(hard), device=hard.device).view(-1, 1, 1, 1, 1))


def apart(hard: Tensor, decay: float) -> Tensor:
    """The soft masks of objects that share no hard site: (K, 1, F, H, W) to the same, their sum at most 1.

    s_k = soften(H_k), 0 at the hard sites of the others; M_k = s_k max_j s_j / sum_j s_j. So M_k = 1 where H_k = 1,
    and sum_k M_k = soften(union_k H_k): where soft edges meet, they share what one mask of all would have.
    """
    soft = soften(hard, decay)
    any_hard = hard.amax(0, keepdim=True)
    soft = torch.where(any_hard > hard, torch.zeros_like(soft), soft)
    total = soft.sum(0, keepdim=True)
    return torch.where(total > 0, soft / total, torch.zeros_like(soft)) * soft.amax(0, keepdim=True)


def _offsets(n: int, like: Tensor) -> Tensor:
    """How far the first of two places lies behind the second, (n, n)."""
    places = torch.arange(n, device=like.device, dtype=torch.float32)
    return places[:, None] - places[None, :]


def _shares(n: int, before: float, behind: float, like: Tensor) -> Tensor:
    """The offsets in units of the reach on their side, (n, n)."""
    offsets = _offsets(n, like)
    return offsets / torch.where(offsets > 0, behind + 1e-4, before + 1e-4)
