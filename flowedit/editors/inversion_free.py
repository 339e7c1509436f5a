"""Inversion-free: steer the source along the difference of two velocities, without going up to noise first."""

from collections.abc import Sequence

import torch
from torch import Tensor

from flowedit.editors.averaging import Average, mean
from flowedit.editors.common import INSIDE, blend, counted, mask_at
from flowedit.editors.corrections import Correction, Decoupling
from flowedit.flow.rectify import interpolate
from flowedit.flow.solvers import Watch, euler, solve
from flowedit.messages import InputError
from flowedit.types import Callback, Mask, Noise, Step, Velocity


def inversion_free(
    x_src: Tensor,
    source: Velocity,
    target: Velocity,
    grid: Sequence[float],
    noise: Noise,
    *,
    draws: int = 1,
    fixed_noise_steps: int = 0,
    target_only_steps: int = 0,
    average: Average = mean,
    correct: Correction | None = None,
    mask: Mask = None,
    decouple: Decoupling | None = None,
    preserve: bool = False,
    callback: Callback = None,
) -> Tensor:
    """Z += M [(t_next - t) c(avg_d V_d) - pull(D)], V_d = u_tgt(P_d, t) - u_src(Q_d, t), P = Q + (Z - X_src).

    x_src (1, C, F, H, W) float32; the result likewise. Every step takes `draws` fresh noises, Q_d = (1 - t) X_src + t
    eps_d, in one batch for each side; the last `fixed_noise_steps` (all, if fewer are run) take one noise, the same in
    all of them. c is `correct`, given the mean source velocity too; pull is `decouple` of D = (Z - X_src) - t mean_d
    V_d, Z before the step; M = 0 keeps the source. `preserve` then sets sites with M < 0.5 back to X_src. After these
    steps the last `target_only_steps` follow the target alone, from z = Q + (Z - X_src) for one more eps; there,
    outside the mask, the state is (1 - t) X_src + t eps. A grid of one time returns the source. Raises ValueError for
    counts out of range, FloatingPointError on NaN or Inf. Source: FlowEdit (Kulikov et al. 2024), algorithm 1; mask:
    FlowDirector (arXiv 2506.05046); fixed noise, correction before mask, and Euler before decoupling: its second
    version (CVPR 2026); that averaging with its guidance comes before the correction is inferred; that the mask
    multiplies the decoupling too is ours.
    """
    total = len(grid) - 1
    if draws < 1:
        raise InputError(f"draws {draws} must be at least 1")
    if fixed_noise_steps < 0:
        raise InputError(f"mode.fixed_noise_steps {fixed_noise_steps} must be at least 0")
    if not 0 <= target_only_steps <= total:
        raise InputError(f"mode.target_only_steps {target_only_steps} is outside 0 to {total}, the steps that are run")
    z, watch, paired = x_src, Watch(), total - target_only_steps
    settled = max(0, paired - fixed_noise_steps)
    for i in range(paired):
        t, t_next = grid[i], grid[i + 1]
        many = i < settled
        eps = torch.cat([noise(i, d) for d in range(draws)]) if many else noise(settled, 0)
        q = interpolate(x_src, eps, t)
        # In this order of operations: z - x_src is exactly zero where nothing was edited, and then p is q.
        change = z - x_src
        p = q + change
        u_src = source(q, t)
        flows = target(p, t) - u_src
        flow = average(flows) if many else flows
        if correct is not None:
            flow = correct(flow, mean(u_src))
        m = mask_at(mask, i)
        z = z + (t_next - t) * (flow if m is None else m * flow)
        if decouple is not None:
            pull = decouple(change - t * mean(flows))
            z = z - (pull if m is None else m * pull)
        if preserve and m is not None:
            z = torch.where(m >= INSIDE, z, x_src)
        watch.add(z, t)
        if callback is not None:
            callback(Step(i, total, t, z, watch.check))
    watch.check()
    if target_only_steps == 0:
        return z

    eps = noise(paired, 0)
    z = interpolate(x_src, eps, grid[paired]) + (z - x_src)

    rest = grid[paired:]

    def keep_outside(step: int, t: float, z: Tensor) -> Tensor:
        return blend(z, interpolate(x_src, eps, t), mask_at(mask, paired + step, preserve), rest, step)

    return solve(target, z, rest, euler, keep_outside, counted(callback, paired, total))
