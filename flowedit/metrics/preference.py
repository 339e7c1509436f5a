"""Whether an edit shows what the target prompt says, by the backbone in use: no other network is needed."""

from flowedit.messages import InputError
from flowedit.metrics.catalogue import METRICS, TARGET, Metric
from flowedit.metrics.part import ModelView

TIMES = (0.35, 0.5, 0.65, 0.8, 0.9)
"""Where velocities are asked: below them prompts say little, above them little of the clip is left."""


def preference(view: ModelView) -> float:
    """100 mean over t of (E_src - E_tgt) / (E_src + E_tgt), in -100 ... 100; higher is better.

    E = mean |u(z, t) - (eps - x)|^2 at z = (1 - t) x + t eps is how badly a prompt's velocity explains the clip x, and
    so the value is how much better the target prompt explains it than the source prompt does: 0 where they explain it
    alike, below 0 for a clip that shows the source. t are the knots nearest to `TIMES`, eps is one noise for each, the
    same for every clip of a shape. A diffusion model classifies by these errors (Li et al. 2023, Diffusion
    Classifier). Raises ValueError where neither prompt leaves an error.
    """
    x, values = view.x, []
    for step, time in enumerate(TIMES):
        t = float(view.knots[(view.knots - time).abs().argmin()])
        eps = view.noise(step, 0)
        z, u = (1 - t) * x + t * eps, eps - x
        before, after = (
            float((view.velocities[side](z, t) - u).double().square().mean()) for side in ("source", "target")
        )
        if not before + after:
            raise InputError("both prompts explain the clip without error: there is nothing to compare")
        values.append((before - after) / (before + after))
    return 100 * sum(values) / len(values)


METRICS.add(
    "target_preference",
    Metric(
        "target preference",
        "prompt",
        "higher",
        decimals=1,
        model=preference,
        needs=TARGET,
        default=True,
        about="How much better the target prompt explains the edit than the source prompt does, by the errors of the "
        "backbone's own velocities, -100 to 100; a clip left alone is below 0.",
    ),
)
