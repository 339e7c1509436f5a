"""Shapes and precisions of the public maths, checked by jaxtyping and beartype over random sizes."""

import torch
from beartype import beartype
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import Float, jaxtyped
from torch import Tensor

from flowedit.editors import averaging, corrections
from flowedit.editors.straight.inversion_free import inversion_free
from flowedit.editors.through_noise.inversion import inversion
from flowedit.editors.through_noise.random_noise import random_noise
from flowedit.flow import noise, rectify, solvers
from flowedit.masks import grids, shapes
from flowedit.masks.maps import pool, smooth_time, threshold
from flowedit.networks import attention

check = jaxtyped(typechecker=beartype)
sizes = st.tuples(*[st.integers(1, 5)] * 5)
few = settings(max_examples=15, deadline=None)


def field(z, t):
    return torch.tanh(z) * t - 0.3 * z


@few
@given(sizes)
def test_editors_keep_shape_and_precision(size):
    _, c, f, h, w = size

    @check
    def run(edit, x: Float[Tensor, "1 c f h w"]) -> Float[Tensor, "1 c f h w"]:
        return edit(x)

    x, source = torch.randn(1, c, f, h, w), noise.gaussian(0, (1, c, f, h, w))
    mask = torch.rand(1, 1, f, h, w)
    grid = [0.9, 0.5, 0.0]
    for edit in (
        lambda x: random_noise(x, field, grid, source, method=solvers.heun, mask=mask),
        lambda x: inversion(x, field, field, grid, source, method=solvers.midpoint, mask=mask),
        lambda x: inversion_free(x, field, field, grid, source, draws=3, target_only_steps=1, mask=mask),
        lambda x: inversion_free(
            x,
            field,
            lambda z, t: -field(z, t),
            grid,
            source,
            draws=2,
            fixed_noise_steps=1,
            mask=mask,
            correct=corrections.direction_aware(0.25, 2),
            decouple=corrections.decoupled(0.01, 0.3),
        ),
    ):
        assert run(edit, x).dtype == torch.float32


@few
@given(sizes)
def test_masks_keep_their_axes(size):
    b, _, f, h, w = size

    @check
    def each(maps: Float[Tensor, "b 1 f h w"]) -> Float[Tensor, "b 1 f h w"]:
        binary = threshold(smooth_time(pool(maps, 3), 1.0), "mean", size=3)
        return shapes.soften(binary, 0.5)

    @check
    def joined(maps: Float[Tensor, "b 1 f h w"]) -> Float[Tensor, "1 1 f h w"]:
        return shapes.union([maps, maps])

    @check
    def pixels(mask: Float[Tensor, "1 1 f h w"], frames: list) -> Float[Tensor, "n 16 24"]:
        return grids.to_pixels(mask, frames, 4, (16, 24))

    maps = torch.rand(b, 1, f, h, w)
    soft = each(maps)
    assert soft.min() >= 0
    assert soft.max() <= 1
    pixels(joined(maps), list(range(1 + 4 * (f - 1))))


@few
@given(sizes)
def test_guidance_and_bridge(size):
    n, c, f, h, w = size

    @check
    def average(flows: Float[Tensor, "n c f h w"]) -> Float[Tensor, "1 c f h w"]:
        return averaging.differential("least_aligned", 1, 2.0)(flows)

    @check
    def correct(v: Float[Tensor, "1 c f h w"], s: Float[Tensor, "1 c f h w"]) -> Float[Tensor, "1 c f h w"]:
        return corrections.decoupled(0.01, 0.3)(corrections.direction_aware(0.25, 3)(v, s))

    @check
    def there_and_back(v: Float[Tensor, "n c f h w"], x: Float[Tensor, "n c f h w"]) -> Float[Tensor, "n c f h w"]:
        return rectify.v_from_velocity(rectify.velocity_from_v(v, x, 0.4), x, 0.4)

    flows = torch.randn(n + 1, c, f, h, w)
    correct(average(flows), flows[:1])
    assert torch.allclose(there_and_back(flows, flows + 1), flows, atol=1e-5)


@few
@given(st.tuples(*[st.integers(1, 9)] * 4))
def test_attention_columns(size):
    b, h, n, m = size

    @check
    def columns(q: Float[Tensor, "b h n 8"], k: Float[Tensor, "b h m 8"]) -> Float[Tensor, "b n"]:
        return attention.token_attention(q, k, attention.blockwise_lse(q, k), torch.tensor([0]), m)

    maps = columns(torch.randn(b, h, n, 8), torch.randn(b, h, m, 8))
    assert maps.min() >= 0
    assert maps.max() <= 1 + 1e-6
