"""The region pass of the networks against whole passes, and against a target that is shown the source's keys."""

import weakref

import pytest
import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

from flowedit.backbones import families
from flowedit.flow import windows
from flowedit.flow.guidance import classifier_free
from flowedit.flow.rows import RowGroup, groups
from flowedit.messages import InputError
from flowedit.networks.lanes import chosen
from flowedit.networks.recorder import masked_inputs
from flowedit.types import Guided

KINDS = ("2b", "5b", "15", "wan")
T = 0.7


def opened(request, kind, **how):
    return families.load(request.getfixturevalue(f"backbone_{kind}"), device="cpu", **{"dtype": "float32", **how})


def states(backbone, frames=9, rows=2):
    latent = backbone.geometry(frames, (64, 96)).latent
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.randn((rows, *latent), generator=generator) for _ in range(2))


def region(latent, share=0.3):
    """Random sites of it, in the first half of the frames, so that one window of two may be empty."""
    sites = torch.rand((1, 1, *latent.shape[2:]), generator=torch.Generator().manual_seed(1)) < share
    sites[:, :, sites.shape[2] // 2 :] = False
    return sites


def near(a, b, tolerance=1e-5):
    assert a.shape == b.shape
    assert (a - b).abs().max() <= tolerance * b.abs().max()


@pytest.fixture(params=KINDS)
def backbone(request):
    return opened(request, request.param)


WAYS = {
    "no guidance": ((1.0, None), (1.0, None)),
    "target": ((1.0, None), (3.0, "dark")),
    "source": ((2.0, "dark"), (1.0, None)),
    "both": ((2.0, "dark"), (3.0, "dark")),
    "two scales": ((2.0, "dark"), ((3.0, 5.0), "dark")),
    "from the source": ((2.0, "dark"), (3.0, "source")),
}


def sides(backbone, way):
    prompts = {name: backbone.embed(text) for name, text in [("source", "a fox"), ("target", "a panda"), ("dark", "d")]}
    made = []
    for name, (scale, negative) in zip(("source", "target"), WAYS[way], strict=True):
        made.append(Guided(prompts[name], scale, None if negative is None else prompts[negative]))
    return made


@pytest.mark.parametrize("way", WAYS)
def test_all_tokens_are_the_whole_pass(backbone, way):
    """To the bit where a call has as many rows as the whole pass has, so that the kernels are the same ones."""
    (q, p), (source, target) = states(backbone), sides(backbone, way)
    everywhere = backbone.choose(torch.ones_like(q[:1, :1], dtype=torch.bool))
    with backbone.record({source.prompt: [1], target.prompt: [1, 2]}, [0.0, 0.5]) as maps:
        whole = backbone.velocity(*source)(q, T), backbone.velocity(*target)(p, T)
        seen = [maps.take(each.prompt) for each in (source, target)]
        before = backbone.token_evaluations
        pair = backbone.pair_velocity(source, target)(q, p, T, everywhere)
        again = [maps.take(each.prompt) for each in (source, target)]
    rows = 2 * sum(1 if each.negative is None else 2 for each in (source, target))
    assert backbone.token_evaluations - before == pytest.approx(rows)
    for a, b in zip([*pair, *again], [*whole, *seen], strict=True):
        near(a, b)
        if way == "both":
            assert torch.equal(a, b)


class Keys(TorchFunctionMode):
    """Notes the keys and values of every attention to the video, or puts noted ones outside some tokens."""

    def __init__(self, count, text, tokens=None, noted=None):
        super().__init__()
        self.length, self.text, self.tokens, self.noted, self.calls = count + text, text, tokens, noted, []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is not F.scaled_dot_product_attention:
            return func(*args, **(kwargs or {}))
        q, k, v, scale, _ = masked_inputs(args, kwargs or {})
        if k.shape[2] == self.length == q.shape[2]:
            if self.noted is not None:
                k, v = (self.shown(*each) for each in zip((k, v), self.noted[len(self.calls)], strict=True))
            self.calls.append((k, v))
        return F.scaled_dot_product_attention(q, k, v, scale=scale)

    def shown(self, own, source):
        whole = own.clone()
        whole[:, :, self.text :] = source[:, :, self.text :]
        whole[:, :, self.text + self.tokens] = own[:, :, self.text + self.tokens]
        return whole


def shown_the_source(backbone, q, p, source, target, tokens):
    """The target's velocity, all tokens sent, where the keys outside the chosen ones are those of the source."""
    text = backbone.architecture.text_queries
    with Keys(backbone._guided.tokens(q), text) as noted:
        backbone.velocity(source)(q, T)
    with Keys(backbone._guided.tokens(p), text, tokens, noted.calls):
        return backbone.velocity(target)(p, T)


@pytest.mark.parametrize("way", ["target", "both", "from the source"])
def test_a_region_attends_to_its_own_keys_and_to_the_source_s_around_them(backbone, way):
    """Like to like: a negative row is shown the source's negative, or its conditional row where it has no other."""
    (q, p), (source, target) = states(backbone), sides(backbone, way)
    (part,) = chose = backbone.choose(region(q))
    u_src, u_tgt = backbone.pair_velocity(source, target)(q, p, T, chose)
    reads = {"target": source.prompt, "both": source.negative, "from the source": source.prompt}[way]
    rows = [
        shown_the_source(backbone, q, p, of, of_target, part.tokens)
        for of, of_target in ((reads, target.negative), (source.prompt, target.prompt))
    ]
    near(u_src, backbone.velocity(*source)(q, T))
    inside = part.sites.expand_as(u_tgt)
    near(u_tgt[inside], classifier_free(*rows, target.scale)[inside])
    assert torch.equal(u_tgt[~inside], u_src[~inside])
    whole = backbone.velocity(*target)(p, T)
    assert (u_tgt - whole)[inside].abs().max() > 1e-4  # the source's keys are not its own


@pytest.mark.parametrize("kind", KINDS)
def test_one_row_at_a_time_is_the_same(request, kind):
    made = []
    for rows in (0, 1, 2, 3):
        backbone = opened(request, kind, rows=rows)
        (q, p), (source, target) = states(backbone, rows=3), sides(backbone, "both")
        largest = []

        def noted(module, args, kwargs, largest=largest):
            largest.append(len(kwargs.get("hidden_states", args[0] if args else None)))

        hook = backbone.architecture.blocks.of(backbone.components.transformer)[0].register_forward_pre_hook(
            noted, with_kwargs=True
        )
        with backbone.record({source.prompt: [1], target.prompt: [1, 2]}, [0.5]) as maps:
            pair = backbone.pair_velocity(source, target)(q, p, T, backbone.choose(region(q)))
            made.append([*pair, *(maps.take(each.prompt) for each in (source, target))])
        hook.remove()
        assert max(largest) == {0: 12, 1: 2, 2: 4, 3: 4}[rows]  # before it is packed: whole rows, and the region's
    for other in made[1:]:
        for a, b in zip(other, made[0], strict=True):
            near(a, b)


def test_maps_of_a_region_are_those_of_the_whole_where_nothing_was_edited(backbone):
    q, _ = states(backbone)
    source, target = (Guided(backbone.embed("a fox")) for _ in range(2))
    (part,) = chose = backbone.choose(region(q))
    with backbone.record({source.prompt: [1], target.prompt: [[1], [0]]}, [0.0, 0.5]) as maps:
        backbone.velocity(*target)(q, T)
        whole = maps.take(target.prompt)
        backbone.pair_velocity(source, target)(q, q, T, chose)
        inside = maps.take(target.prompt)
    assert whole.shape == inside.shape == (2, 2, *q.shape[2:])
    near(inside, whole * part.sites)


def test_an_empty_region_evaluates_the_source_alone(backbone):
    (q, p), (source, target) = states(backbone), sides(backbone, "two scales")
    before = backbone.evaluations
    with backbone.record({source.prompt: [1], target.prompt: [1, 2]}, [0.5]) as maps:
        nothing = backbone.choose(torch.zeros_like(q[:1, :1], dtype=torch.bool))
        u_src, u_tgt = backbone.pair_velocity(source, target)(q, p, T, nothing)
        assert maps.take(source.prompt).abs().max() > 0
        assert maps.take(target.prompt).abs().max() == 0
    with backbone.record({target.prompt: [[1], [2]]}, [[0.0], [0.5], [0.9]]) as maps:
        backbone.pair_velocity(source, target)(q, p, T, nothing)
        assert maps.take(target.prompt).shape[1] == 6
    assert backbone.evaluations - before == 8
    assert torch.equal(u_src, backbone.velocity(*source)(q, T))
    assert torch.equal(u_tgt, torch.cat([u_src, u_src]))


def test_a_row_counts_by_the_tokens_that_it_sends(backbone):
    (q, p), (source, target) = states(backbone), sides(backbone, "target")
    (part,) = chose = backbone.choose(region(q))
    before = (backbone.evaluations, backbone.token_evaluations)
    backbone.pair_velocity(source, target)(q, p, T, chose)
    text, whole, sent = backbone.architecture.text_queries, backbone._guided.tokens(q), len(part.tokens)
    assert backbone.evaluations - before[0] == 6
    assert backbone.token_evaluations - before[1] == pytest.approx(2 + 4 * (text + sent) / (text + whole))


def test_a_token_is_sent_for_any_of_its_sites():
    sites = torch.zeros(1, 1, 4, 4, 6, dtype=torch.bool)
    sites[0, 0, 3, 1, 4] = True
    whole, tokens = chosen(sites, (2, 2, 2))
    assert tokens.tolist() == [1 * 6 + 0 * 3 + 2]
    assert whole.sum() == 8
    assert whole[0, 0, 2:, :2, 4:].all()


def test_like_attends_to_like():
    source, target, dark = object(), object(), object()
    assert groups([source], [dark, target]) == [RowGroup(0, (0, 1))]
    assert groups([dark, source], [dark, target]) == [RowGroup(0, (0,)), RowGroup(1, (1,))]
    assert groups([dark, source], [target]) == [RowGroup(0, ()), RowGroup(1, (0,))]
    assert groups([dark, source], [source, target]) == [RowGroup(0, ()), RowGroup(1, (0, 1))]


def test_the_keys_and_values_of_a_block_do_not_outlive_it(backbone):
    (q, p), (source, target) = states(backbone), sides(backbone, "both")
    alive, counts = [], []

    class Watch(TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            if func is F.scaled_dot_product_attention:
                alive.extend(weakref.ref(each) for each in masked_inputs(args, kwargs or {})[1:3])
            return func(*args, **(kwargs or {}))

    blocks = backbone.architecture.blocks.of(backbone.components.transformer)
    hooks = [
        block.register_forward_hook(lambda *a: counts.append((len(alive), sum(each() is not None for each in alive))))
        for block in blocks
    ]
    with Watch():
        backbone.pair_velocity(source, target)(q, p, T, backbone.choose(region(q)))
    for hook in hooks:
        hook.remove()
    each = 4 if backbone.architecture.blocks.text_attention is None else 8
    assert counts == [(each * (i + 1), 0) for i in range(len(blocks))]


def test_windows_see_their_own_part_of_a_region(backbone):
    source, target = sides(backbone, "target")
    q, p = states(backbone, 17, rows=1)
    patch = backbone.architecture.patch[0]
    window = patch * (q.shape[2] // patch // 2 + 1)
    places = windows.places(q.shape[2], window, 0.3, patch)
    assert len(places) > 1
    seen = windows.over(backbone, places)
    part = region(q)
    part[:, :, places[1][0] :] = False
    with seen.record({source.prompt: [1], target.prompt: [1, 2]}, [0.5]) as maps:
        picked = seen.choose(part)
        assert len(picked[0].tokens) > 0 == len(picked[1].tokens)
        u_src, u_tgt = seen.pair_velocity(source, target)(q, p, T, picked)
        assert maps.take(target.prompt).shape[2:] == q.shape[2:]
    near(u_src, seen.velocity(*source)(q, T))
    moved = (u_tgt != u_src).any(1, keepdim=True)
    assert torch.equal(moved[:, :, : places[1][0]], picked[0].sites[:, :, : places[1][0]])
    assert not moved[:, :, places[0][1] :].any()
    whole = seen.pair_velocity(source, target)(q, p, T, seen.choose(torch.ones_like(part)))[1]
    near(whole, seen.velocity(*target)(p, T))


def test_hooks_go_whatever_happens(backbone):
    (q, p), (source, target) = states(backbone), sides(backbone, "no guidance")
    transformer = backbone.components.transformer
    with pytest.raises(InputError, match="no attention today"), Spoilt():
        backbone.pair_velocity(source, target)(q, p, T, backbone.choose(region(q)))
    assert not any(each._forward_hooks or each._forward_pre_hooks for each in transformer.modules())
    near(backbone.velocity(*source)(q, T), backbone.velocity(*source)(q, T))


class Spoilt(TorchFunctionMode):
    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is F.scaled_dot_product_attention:
            raise RuntimeError("no attention today")
        return func(*args, **(kwargs or {}))


def test_blocks_that_are_offloaded_in_groups_run_in_lanes(request):
    from diffusers.hooks import apply_group_offloading

    made = []
    for offloaded in (False, True):
        backbone = opened(request, "5b")
        if offloaded:
            apply_group_offloading(
                backbone.components.transformer,
                onload_device=torch.device("cpu"),
                offload_device=torch.device("cpu"),
                offload_type="block_level",
                num_blocks_per_group=1,
            )
        (q, p), (source, target) = states(backbone), sides(backbone, "target")
        made.append(backbone.pair_velocity(source, target)(q, p, T, backbone.choose(region(q)))[1])
    assert torch.equal(*made)
