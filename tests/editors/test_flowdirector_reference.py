"""FlowDirector's two versions in plain, slow NumPy, in the papers' own units, and our presets held to them.

Nothing of flowedit's mathematics is used on the reference's side, only its noise; on ours, everything from the preset
to the state: grid, guidance scales, mask, averaging, corrections. Latents of 60 x 104 sites, as in the papers.
"""

from contextlib import contextmanager
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
import torch
from edits import edited
from fields import ToyBackbone

from flowedit.config import compose
from flowedit.flow import noise
from flowedit.flow.guidance import classifier_free

C, F, H, W = 3, 3, 60, 104
POOL, LAMBDA = 11, 0.25
PROMPTS = {"source": "a red fox", "target": "a big panda", "null": "blurry"}
SCALES = {"source": 3.5, "target": 10.5}
X = np.random.default_rng(0).standard_normal((C, F, H, W))
WEIGHTS = {side: np.random.default_rng(i + 1).standard_normal((2, C, F, H, W)) for i, side in enumerate(PROMPTS)}


@cache
def attention(side, step, draw):
    """A map of the object's words, (F, H, W), non-negative: a few blobs on noise, others in every step and draw.

    The last frame has no object.
    """
    rng = np.random.default_rng([len(side), step, draw])
    rows, columns = np.mgrid[:H, :W]
    blobs = np.zeros((F, H, W))
    for f in range(F - 1):
        for _ in range(2):
            i, j = rng.uniform(10, H - 10), rng.uniform(10, W - 10)
            blobs[f] += np.exp(-((rows - i) ** 2 + (columns - j) ** 2) / 120)
    return blobs + 0.3 * rng.random((F, H, W))


# The reference.


def velocity(side, z, t):
    a, b = WEIGHTS[side]
    return np.tanh(a * z + t * b) - 0.4 * z


def guided(side, z, t, scale):
    null = velocity("null", z, t)
    return null + scale * (velocity(side, z, t) - null)


@cache
def found(side, step, draw, pool):
    """The binary mask of one sample: the map, pooled in each frame, against the mean of the whole map, not pooled."""
    maps, reach = attention(side, step, draw), pool // 2
    binary, level = np.zeros((F, H, W), bool), maps.mean()
    for f in range(F):
        for i in range(H):
            for j in range(W):
                window = maps[f, max(0, i - reach) : i + reach + 1, max(0, j - reach) : j + reach + 1]
                binary[f, i, j] = window.mean() > level
    return binary


@cache
def distances(step, draws, pool):
    """How far each site is from the mask of all samples, in sites of its frame; infinite in a frame without any."""
    binary = np.zeros((F, H, W), bool)
    for side in ("source", "target"):
        for draw in range(draws):
            binary |= found(side, step, draw, pool)
    far = np.zeros((F, H, W))
    for f in range(F):
        ones = np.argwhere(binary[f])
        for i, j in np.argwhere(~binary[f]):
            far[f, i, j] = np.sqrt(((ones - (i, j)) ** 2).sum(1).min()) if len(ones) else np.inf
    return far


def soft_mask(step, draws, pool=POOL, decay=LAMBDA):
    return np.exp(-decay * distances(step, draws, pool))


def times(steps, skipped, shift=12):
    """The shifted grid in `steps` intervals, without the first ones."""
    s = [1 - i / steps for i in range(steps)]
    return ([shift * x / (1 + (shift - 1) * x) for x in s] + [0.0])[skipped:]


def candidates(z, t, eps, scales=SCALES):
    """The source velocities and the flows of all noises."""
    sources, flows = [], []
    for e in eps:
        q = (1 - t) * X + t * e
        p = z + q - X
        sources.append(guided("source", q, t, scales["source"]))
        flows.append(guided("target", p, t, scales["target"]) - sources[-1])
    return sources, flows


def least_aligned(flows, k):
    high = sum(flows) / len(flows)
    cosines = [(v * high).sum() / np.sqrt((v * v).sum() * (high * high).sum()) for v in flows]
    return [flows[i] for i in np.argsort(cosines)[:k]]


def differential(flows, low, weight):
    high = sum(flows) / len(flows)
    return high + weight * (high - sum(low) / len(low))


def draw(step, number):
    return noise.gaussian(0, (1, C, F, H, W))(step, number)[0].double().numpy()


def version_1(steps, skipped, draws, k, weight, baseline):
    grid, z = times(steps, skipped), X
    for i, (t, t_next) in enumerate(pairwise(grid)):
        _, flows = candidates(z, t, [draw(i, d) for d in range(draws)])
        low = flows[:k] if baseline == "first" else least_aligned(flows, k)
        z = z + (t_next - t) * soft_mask(i, draws) * differential(flows, low, weight)
    return z


def direction_aware(flow, source, alpha):
    out = np.empty_like(flow)
    for f in range(F):
        for i in range(H):
            for j in range(W):
                v, s = flow[:, f, i, j], source[:, f, i, j]
                parallel = (v @ s) / (s @ s) * s
                across = v - parallel
                out[:, f, i, j] = across if parallel @ s >= 0 else (1 + alpha) * parallel + across
    return out


def version_2(
    steps, fixed, draws=3, k=2, weight=2.75, alpha=0.25, zeta=0.01, phi=0.3,
    source=SCALES["source"], target=SCALES["target"], shift=12, pool=POOL, decay=LAMBDA,
):  # fmt: skip
    grid, z = times(steps, 0, shift), X
    for i, (t, t_next) in enumerate(pairwise(grid)):
        last = i >= steps - fixed
        eps = [draw(steps - fixed, 0)] if last else [draw(i, d) for d in range(draws)]
        sources, flows = candidates(z, t, eps, {"source": source, "target": target})
        flow = flows[0] if last else differential(flows, least_aligned(flows, k), weight)
        flow = direction_aware(flow, sum(sources) / len(sources), alpha)
        # Both clean estimates, at the state before the step; their noise is the same and cancels.
        clean_source = sum((1 - t) * X + t * e - t * v for e, v in zip(eps, sources, strict=True)) / len(eps)
        clean_target = sum(
            (z + (1 - t) * X + t * e - X) - t * (v + s) for e, v, s in zip(eps, flows, sources, strict=True)
        ) / len(eps)
        change = clean_target - clean_source
        anchor = clean_target.mean(1, keepdims=True) - clean_source.mean(1, keepdims=True)
        # Ours: the mask holds for what is taken back too, else sites outside would be pushed away from the edit.
        mask = soft_mask(i, len(eps), pool, decay)
        z = z + mask * ((t_next - t) * flow - zeta * (change - phi * anchor))
    return z


# Ours.


class Stub(ToyBackbone):
    """The reference's velocities and maps behind the seam."""

    latent_size = (H // 2, W // 2)  # what it learned from; sizes of masks count in the latent that it works in

    def velocity(self, prompt, guidance_scale=1.0, negative=None):
        names = {text: side for side, text in PROMPTS.items()}

        def one(z, t, side):
            a, b = (torch.from_numpy(w) for w in WEIGHTS[side])
            return torch.tanh(a * z + t * b) - 0.4 * z

        def evaluate(z, t):
            self._maps.rows[prompt.prompt] = len(z)
            sides = (one(z, t, names[c.prompt]) for c in (negative, prompt))
            return classifier_free(*sides, guidance_scale)

        return evaluate

    @contextmanager
    def record(self, tokens, blocks, normalise="joint"):
        assert (tuple(blocks), normalise) == ((18 / 30,), "joint")
        self._maps = Given()
        yield self._maps


class Given:
    def __init__(self):
        self.rows, self.steps = {}, {}

    def take(self, prompt):
        side = {text: side for side, text in PROMPTS.items()}[prompt.prompt]
        step = self.steps[side] = self.steps.get(side, -1) + 1
        maps = np.stack([attention(side, step, d) for d in range(self.rows[prompt.prompt])])
        return torch.from_numpy(maps)[:, None]


def ours(preset, **options):
    prompts = {"source": PROMPTS["source"], "target": PROMPTS["target"], "negative_prompt": PROMPTS["null"]}
    words = {"source_words": "fox", "target_words": "panda", "backbone": "cogvideox-2b"}
    settings, backbone = compose.compose({"mode": preset, **prompts, **words, **options}), Stub()
    return edited(settings, backbone, torch.from_numpy(X)[None], X.shape[2:])[0].numpy()


def far(z, reference):
    return np.abs(z - reference).max() / np.abs(reference - X).max()


def test_the_masks_of_the_reference_are_neither_empty_nor_full():
    for step, draws in ((0, 4), (1, 4), (0, 3), (2, 1)):
        soft = soft_mask(step, draws)
        assert 0.02 < (soft == 1).mean() < 0.9
        assert soft.min() < 0.5
    assert soft_mask(1, 1)[-1].max() == 0  # a frame without the object is empty, though it has a largest value too


@pytest.mark.parametrize(
    ("guidance", "baseline", "weight"), [("differential_first", "first", 1.75), ("differential", "least", 2.75)]
)
def test_version_1_over_several_steps(guidance, baseline, weight):
    reference = version_1(5, 1, 4, 2, weight, baseline)
    assert far(ours("flowdirector_v1", steps=5, guidance=guidance), reference) < 1e-6
    plain = version_1(5, 1, 4, 2, 0.0, baseline)
    assert far(plain, reference) > 1e-2  # omega moves the output
    assert far(ours("flowdirector_v1", steps=5, averaging="mean"), plain) < 1e-6


def test_version_2_over_several_steps():
    reference = version_2(5, 2)
    assert far(ours("flowdirector_v2", steps=5, **{"mode.fixed_noise_steps": 2}), reference) < 1e-6


@pytest.mark.parametrize(
    ("changed", "options"),
    [
        ({"weight": 1.0}, {"averaging.weight": 1.0}),
        ({"k": 1}, {"averaging.baseline_size": 1}),
        ({"draws": 4}, {"draws": 4}),
        ({"alpha": 0.5}, {"mode.direction_alpha": 0.5}),
        ({"zeta": 0.007, "phi": 0.5}, {"mode.decoupling": 0.007, "mode.decoupling_appearance": 0.5}),
        ({"fixed": 0}, {"mode.fixed_noise_steps": 0}),
        ({"fixed": 3}, {"mode.fixed_noise_steps": 3}),
        ({"source": 2.5}, {"source_guidance_scale": 2.5}),
        ({"target": 7.5}, {"target_guidance_scale": 7.5}),
        ({"shift": 5}, {"mode.shift": 5}),
        ({"pool": 7}, {"mask.pool": 7 / H}),
        ({"decay": 0.5}, {"mask.decay": 0.5 * H}),
    ],
    ids=str,
)
def test_every_number_of_version_2_counts(changed, options):
    usual = {"steps": 3, "fixed": 1}
    reference = version_2(**(usual | changed))
    assert far(version_2(**usual), reference) > 1e-4
    assert far(ours("flowdirector_v2", steps=3, **({"mode.fixed_noise_steps": 1} | options)), reference) < 1e-6
