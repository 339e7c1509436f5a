"""A mask without words: the sum of the velocity differences, where it comes from, what it survives."""

import pytest
import torch
from edits import steered
from fields import LocalBackbone

from flowedit.config import compose
from flowedit.editors.spec import EDITORS
from flowedit.masks.difference import DifferenceMap
from flowedit.masks.shapes import close
from flowedit.messages import InputError
from flowedit.pipeline.checks import check_difference, check_editor
from flowedit.pipeline.plan import brief, make_grid
from flowedit.pipeline.record import Session
from flowedit.pipeline.region import region
from flowedit.pipeline.steer import run_editor
from flowedit.pipeline.velocities import bind

X = torch.randn((1, 3, 5, 16, 24), generator=torch.Generator().manual_seed(0))
BASE = {
    "source": "a red fox runs",
    "target": "a big panda runs",
    "steps": 6,
    "window": "whole",
    "mask": "difference",
}


def edit(backbone=None, user=None, callback=None, **options):
    settings = compose.compose({**BASE, **options})
    return steered(settings, backbone or LocalBackbone(), X, user=user, callback=callback)


def test_the_map_is_the_sum_of_magnitudes_over_channels_and_steps():
    g = torch.Generator().manual_seed(1)
    pairs = [(torch.randn((2, 3, 2, 4, 5), generator=g), torch.randn((2, 3, 2, 4, 5), generator=g)) for _ in range(4)]
    heard, current = DifferenceMap(), {}
    source = heard.heard("source", lambda z, t: current["source"])
    target = heard.heard("target", lambda z, t: current["target"])
    for t, (one, other) in zip((1.0, 0.8, 0.5, 0.1), pairs, strict=True):
        current |= {"source": one, "target": other}
        source(None, t)
        target(None, t)
    wanted = sum((b - a).abs().mean((0, 1), keepdim=True) for a, b in pairs)
    assert torch.allclose(heard(), wanted, atol=1e-6)
    assert heard() is None  # nothing new


def test_the_pairs_of_a_step_count_as_one_and_a_look_ahead_does_not_count():
    heard = DifferenceMap()
    pair = heard.pair(lambda q, p, t, step: (torch.zeros_like(q), q))
    for t, size in ((0.4, 100.0), (0.4, 200.0), (0.9, 2.0), (0.9, 4.0), (0.6, 5.0), (0.4, 7.0)):
        pair(torch.full((1, 1, 1, 1, 2), size), None, t, 0)
    assert heard().flatten().tolist() == [15.0, 15.0]
    again = DifferenceMap()
    again.restore(heard.state(), torch.device("cpu"))
    again.pair(lambda q, p, t, step: (torch.zeros_like(q), q))(torch.ones(1, 1, 1, 1, 2), None, 0.2, 0)
    assert again().flatten().tolist() == [16.0, 16.0]


@pytest.mark.parametrize("mode", ["dynaedit", "flowdc"])
def test_the_map_of_a_mode_of_several_pairs_is_the_first_step_s_mean(mode):
    """S of the first step is the mean of the pairs at its time alone."""
    made, found, seen = brief(compose.compose(BASE | {"mode": mode, "strength": 1.0})), [], []
    backbone, grid = LocalBackbone(), tuple(make_grid(made.settings, LocalBackbone()))
    prompts, velocities = bind(made, backbone, grid)

    def noted(side, u):
        return lambda z, t: seen.append((side, t, u(z, t))) or seen[-1][2]

    with region(made, backbone, prompts, X.shape[3:], slice(None), None) as where:
        heard = {side: where.difference.heard(side, noted(side, u)) for side, u in velocities.items()}

        def mask(step):
            m = where.mask(step)
            found.append((len(seen), where.maps()["difference"].clone()))
            return m

        run_editor(made, X, heard, grid, mask, slice(None), Session(backbone.device))
    first = [u for _, t, u in seen[: found[0][0]] if t == grid[0]]
    wanted = torch.stack([(b - a).abs().mean((0, 1)) for a, b in zip(first[::2], first[1::2], strict=True)]).mean(0)
    assert len(first) == {"dynaedit": 10, "flowdc": 2}[mode]
    assert found[0][0] == {"dynaedit": 10, "flowdc": 8}[mode]
    assert torch.allclose(found[0][1].flatten(), wanted.flatten() / wanted.max() * found[0][1].max(), rtol=1e-4)


def test_velocities_of_two_times_are_no_pair():
    heard = DifferenceMap()
    heard.heard("source", lambda z, t: torch.zeros(1, 3, 1, 2, 2))(None, 0.5)
    heard.heard("target", lambda z, t: torch.ones(1, 3, 1, 2, 2))(None, 0.4)
    assert heard() is None


def test_outside_a_part_the_last_whole_difference_counts_again():
    heard, part = DifferenceMap(), torch.zeros((1, 1, 1, 1, 2), dtype=torch.bool)
    part[..., 0] = True
    pair = heard.pair(lambda q, p, t, step: (torch.zeros_like(q), q))
    pair(torch.full((1, 1, 1, 1, 2), 2.0), None, 1.0, 0)
    heard.part = part
    pair(torch.full((1, 1, 1, 1, 2), 5.0), None, 0.9, 1)
    assert heard().flatten().tolist() == [7.0, 4.0]


def test_it_finds_where_the_target_differs_without_a_word():
    made = edit(strength=1.0)
    inside = torch.zeros_like(made.mask, dtype=torch.bool)
    inside[LocalBackbone.box] = True
    hard = made.mask >= 0.999
    overlap = (hard & inside).sum() / (hard | inside).sum()
    assert overlap > 0.8
    assert made.evaluations == edit(mask="none", strength=1.0).evaluations  # it costs no evaluation


@pytest.mark.parametrize("options", [{"draws": 3}, {"window": 9, "window_overlap": 0.5}, {"mode.region": True}])
def test_it_goes_with_draws_windows_and_the_region_pass(options):
    made = edit(strength=1.0, **options)
    hard = made.mask >= 0.999
    assert hard[..., 4:11, 6:15].float().mean() > 0.8
    assert hard.float().mean() < 0.35
    assert torch.isfinite(made.z).all()


def test_it_joins_the_words_mask_and_the_users():
    words = {"source_words": "fox", "target_words": "panda", "steps": 1, "strength": 1.0}  # later states differ
    alone, both = (edit(mask=name, **words).mask for name in ("attention", "both"))
    assert (both >= alone - 1e-6).all()
    assert (both > alone + 0.5).any()
    user = torch.zeros_like(alone)
    user[..., :2, :2] = 1.0
    joined = edit(user=user, user_mask="m.png", **{**words, "mask.user": "join"}).mask
    assert (joined[..., :2, :2] == 1).all()
    assert (joined >= edit(**words).mask - 1e-6).all()
    replaced = edit(user=user, user_mask="m.png").mask
    assert (replaced >= 0.999).sum() == user.sum()


def test_several_objects_share_it_by_their_own_attention():
    options = {"source_words": "fox, red", "target_words": "panda, big"}
    made = edit(mask="both", **options)
    assert made.objects.shape[0] == 2
    assert made.objects.sum(0).max() <= 1 + 1e-5


@pytest.mark.parametrize("mode", [name for name, spec in EDITORS.items() if spec.difference != "none"])
def test_every_mode_that_says_so_has_it(mode):
    made = edit(mode=mode, strength=1.0, quality="best")
    hard = made.mask >= 0.999
    inside = torch.zeros_like(hard)
    inside[LocalBackbone.box] = True
    assert hard[inside].float().mean() > 0.5
    assert hard[~inside].float().mean() < 0.1
    assert torch.isfinite(made.z).all()


@pytest.mark.parametrize("solver", ["euler", "midpoint", "uni_inv"])
def test_an_inversion_tells_the_velocities_of_its_way_up_and_down(solver):
    """S = sum over the steps of |mean velocity down - mean velocity up|, of each interval, and no other pair."""
    made, states, maps = brief(compose.compose(BASE | {"mode": "inversion", "mode.solver": solver})), [], []
    steered(made.settings, LocalBackbone(), X, callback=lambda s: states.append(s.z) or maps.append(s.maps))
    grid, total = tuple(make_grid(made.settings, LocalBackbone())), made.steps
    up = [X, *states[:total]][::-1]
    alone = []
    velocities = bind(made, LocalBackbone(), grid)[1]
    run_editor(
        made, X, velocities, grid, None, slice(None), Session(torch.device("cpu")),
        differ=lambda t, u, v: alone.append((t, u, v)),
    )  # fmt: skip
    assert [t for t, _, _ in alone] == list(grid[:-1])
    for i, (_, u, _) in enumerate(alone):
        assert torch.allclose(u, (up[i + 1] - up[i]) / (grid[i + 1] - grid[i]), atol=1e-5)
    assert not maps[total - 1]
    first = (alone[0][2] - alone[0][1]).abs().mean(1)
    assert torch.allclose(maps[total]["difference"].flatten(), first.flatten(), rtol=1e-4)
    if solver == "euler":
        assert torch.allclose(alone[0][2], velocities["target"](up[0], grid[0]), atol=1e-4)


def test_modes_without_both_velocities_at_a_step_are_refused_by_name():
    for mode in ("random_noise", "rf_inversion", "steerflow", "dnaedit", "splitflow"):
        with pytest.raises(InputError, match=rf"mode={mode} has not: .*inversion_free"):
            check_difference(brief(compose.compose(BASE | {"mode": mode})))
    made = brief(compose.compose(BASE | {"mode.target_only_steps": 4}))
    with pytest.raises(InputError, match="follow the target alone"):
        check_editor(made, 4)


def test_closing_fills_a_gap_and_keeps_the_border():
    binary = torch.zeros((1, 1, 1, 9, 12))
    binary[..., 2:7, 0:4] = binary[..., 2:7, 6:9] = 1
    closed = close(binary, 1.0)
    assert (closed[..., 3:6, 4:6] == 1).all()
    assert (closed >= binary).all()
    assert closed.sum() < binary.sum() + 2 * 5 + 1
