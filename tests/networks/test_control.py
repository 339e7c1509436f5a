"""Attention control: its maths against a materialised softmax, and at work on each network."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from flowedit.backbones import families, memory
from flowedit.flow import windows
from flowedit.messages import InputError
from flowedit.networks.attention import blockwise_lse
from flowedit.networks.control import bend as bending
from flowedit.networks.control.bend import Bend, bent_attention
from flowedit.networks.control.controller import faded
from flowedit.types import Control, Share

TEXT, UNPADDED, VIDEO = 12, 9, 40
WORDS = [torch.tensor([2, 3]), torch.tensor([5])]


def qkv(n, keys=None, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn((2, 3, each, 16), generator=generator) for each in (n, keys or n, keys or n)]


def sites(count):
    held = torch.rand((count, VIDEO), generator=torch.Generator().manual_seed(5)) < 0.4
    assert 0 < held.sum() < held.numel()
    return held


def reference(q, k, v, text, bend):
    """The N x N matrix itself, in float64, one query and one key at a time where a rule looks at one."""
    q, k, v = (each.double() for each in (q, k, v))
    a = q @ k.transpose(-1, -2) / 4
    video, said = a[:, :, text:], slice(0, text or None)
    block = video[..., said].clone()
    chosen = [(o, w) for o, (w, edited) in enumerate(zip(bend.words, bend.edited, strict=True)) if edited]
    for o, words in chosen:
        before = block.clone()
        high = before[..., : bend.unpadded].amax(-1)
        low = before[..., : bend.unpadded].amin(-1)
        for p in bend.sites[o].nonzero()[:, 0]:
            for j in range(bend.unpadded):
                bound = high if j in words else low
                block[:, :, p, j] += bend.anchor_words * (bound[:, :, p] - before[:, :, p, j])
    after = block.clone()
    for o, words in chosen:
        for j in words:
            for p in range(block.shape[2]):
                bound = after[..., j].amax(-1) if bend.sites[o, p] else after[..., j].amin(-1)
                block[:, :, p, j] += bend.anchor_sites * (bound - after[:, :, p, j])
    for o, words in chosen:
        for j in words:
            block[:, :, bend.sites[o], j] += math.log(bend.weight)
    if bend.apart:
        for o, words in enumerate(bend.words):
            for p in range(block.shape[2]):
                if not bend.sites[o, p] and any(bend.sites[i, p] for i in range(len(bend.sites)) if i != o):
                    block[:, :, p, words] = -torch.inf
                    if text:
                        a[:, :, words, text + p] = -torch.inf
    a[:, :, text:, said] = block
    return a.softmax(-1) @ v


KINDS_OF_BEND = {
    "words": {"anchor_words": 0.3},
    "sites": {"anchor_sites": 0.3},
    "anchored": {"anchor_words": 0.3, "anchor_sites": 0.4},
    "weighted": {"weight": 3.0},
    "apart": {"apart": True},
    "all": {"anchor_words": 0.2, "anchor_sites": 0.3, "weight": 0.5, "apart": True},
}


@pytest.mark.parametrize("joint", [True, False], ids=["joint", "cross"])
@pytest.mark.parametrize("kind", KINDS_OF_BEND)
@pytest.mark.parametrize("edited", [(True, True), (True, False)])
@pytest.mark.parametrize("block", [7, 1024])
def test_bent_attention_is_that_of_the_whole_matrix(monkeypatch, joint, kind, edited, block):
    monkeypatch.setattr(bending, "BLOCK", block)
    q, k, v = qkv(TEXT + VIDEO) if joint else qkv(VIDEO, TEXT)
    text = TEXT if joint else 0
    bend = Bend(sites(2), WORDS, UNPADDED, edited, **KINDS_OF_BEND[kind])
    got = bent_attention(q, k, v, None, text, bend)
    want = reference(q, k, v, text, bend)
    assert (got - want).abs().max() < 1e-5
    plain = F.scaled_dot_product_attention(q, k, v)
    assert (got - plain).abs().max() > 1e-3


def test_the_fallback_without_a_kernel_s_lse_is_the_same(monkeypatch):
    q, k, v = qkv(TEXT + VIDEO)
    bend = Bend(sites(2), WORDS, UNPADDED, (True, True), **KINDS_OF_BEND["all"])
    want = bent_attention(q, k, v, None, TEXT, bend)
    monkeypatch.setattr(
        bending, "with_lse", lambda q, k, v, s, mask: (F.scaled_dot_product_attention(q, k, v, scale=s), None)
    )
    assert (bent_attention(q, k, v, None, TEXT, bend) - want).abs().max() < 1e-5
    assert blockwise_lse(q, k).shape == q.shape[:3]


def test_a_fading_share_is_half_at_seven_tenths_of_its_steps():
    share = Share(1.0, 1.0, (2, 13), fade=5.0)
    assert faded(share, 9) == pytest.approx(0.5)
    assert faded(share, 2) == pytest.approx(1 / (1 + math.exp(-3.5)))
    assert faded(share, 12) == pytest.approx(1 / (1 + math.exp(1.5)))
    assert faded(replace(share, fade=0.0), 12) == 1.0


KINDS = ("2b", "5b", "15", "wan")
GRID = (0.9, 0.6, 0.3, 0.0)
ALL = Share(1.0, 1.0, (0, 3))


def opened(request, kind, **how):
    return families.load(request.getfixturevalue(f"backbone_{kind}"), device="cpu", **{"dtype": "float32", **how})


@pytest.fixture(params=KINDS)
def backbone(request):
    return opened(request, request.param)


def states(backbone, frames=9, rows=2):
    latent = backbone.geometry(frames, (64, 96)).latent
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.randn((rows, *latent), generator=generator) for _ in range(2))


def half(z):
    """A mask of the left half; so one for each of two objects."""
    masks = torch.zeros((2, 1, *z.shape[2:]))
    masks[0, ..., : z.shape[-1] // 2] = 1
    masks[1, ..., z.shape[-1] // 2 :] = 1
    return masks


def control(backbone, z, **how):
    source, target = backbone.embed("a red fox runs"), backbone.embed("a panda and a car")
    masks = half(z)
    usual = {"mask": lambda: masks[:1], "regions": lambda: masks, "words": ([1], [4]), "edited": (True, True)}
    return Control(source, target, GRID, **usual | how)


WAYS = {
    "queries": {"queries": ALL},
    "keys": {"keys": ALL},
    "values": {"values": ALL},
    "outside": {"keys": Share(0.1, 1.0, (0, 3)), "values": Share(0.1, 1.0, (0, 3))},
    "faded": {"values": Share(1.0, 1.0, (0, 3), fade=5.0)},
    "anchored": {"anchor_words": 0.3, "anchor_sites": 0.3},
    "weighted": {"word_weight": 3.0},
    "apart": {"apart": True},
}


@pytest.mark.parametrize("way", WAYS)
def test_a_control_moves_the_target_alone_and_its_strength_none_nothing(backbone, way):
    (q, p), negative = states(backbone), backbone.embed("dark")
    made = control(backbone, q, **WAYS[way])
    source, target = backbone.velocity(made.source, 2.0, negative), backbone.velocity(made.target, 3.0, negative)
    other = backbone.velocity(backbone.embed("a car"), 3.0, negative)
    plain = source(q, 0.6), target(p, 0.6), other(p, 0.6)
    idle = replace(made, queries=Share(steps=(0, 3)), keys=Share(steps=(0, 3)), values=Share(steps=(0, 3)))
    with backbone.attend(replace(idle, anchor_words=0.0, anchor_sites=0.0, word_weight=1.0, apart=False)):
        assert torch.equal(source(q, 0.6), plain[0])
        assert torch.equal(target(p, 0.6), plain[1])
    with backbone.attend(made):
        assert torch.equal(source(q, 0.6), plain[0])
        moved = target(p, 0.6)
        assert torch.equal(other(p, 0.6), plain[2])
    assert (moved - plain[1]).norm() / plain[1].norm() > 1e-4
    assert torch.isfinite(moved).all()
    assert torch.equal(target(p, 0.6), plain[1])


def test_outside_its_steps_blocks_and_times_it_is_idle(backbone):
    q, p = states(backbone)
    late = control(backbone, q, values=Share(1.0, 1.0, (1, 2)), anchor_words=0.3, anchor_until=0.7)
    source, target = backbone.velocity(late.source), backbone.velocity(late.target)
    plain = {t: target(p, t) for t in (0.9, 0.6, 0.45, 0.3)}
    with backbone.attend(replace(late, anchor_words=0.0)):
        for t, idle in ((0.9, True), (0.6, False), (0.45, False), (0.3, True)):
            source(q, t)
            assert torch.equal(target(p, t), plain[t]) == idle
    with backbone.attend(replace(late, values=Share())):
        for t, idle in ((0.9, False), (0.6, True)):
            assert torch.equal(target(p, t), plain[t]) == idle
    with pytest.raises(InputError, match=r"attention\.blocks \[0\.9, 0\.95\] holds none"):
        backbone.attend(replace(late, blocks=(0.9, 0.95))).__enter__()
    moved = []
    for blocks in ((0.0, 1.0), (0.5, 1.0)):
        with backbone.attend(replace(late, blocks=blocks)):
            source(q, 0.6)
            moved.append(target(p, 0.6))
    assert not torch.equal(*moved)


def test_the_source_s_own_state_under_its_own_prompt_is_the_source_s_velocity(backbone):
    """Everything of a source that is what the target is, wholly: nothing may change, whatever rows a call has."""
    (q, _), negative = states(backbone, rows=3), backbone.embed("dark")
    made = replace(control(backbone, q, queries=ALL, keys=ALL, values=ALL), target=backbone.embed("a red fox runs"))
    for scales in ((1.0, 1.0), (2.0, 2.0)):
        source, target = (
            backbone.velocity(made.source, scales[0], negative),
            backbone.velocity(made.target, scales[1], negative),
        )
        with backbone.attend(made):
            assert torch.equal(source(q, 0.6), target(q, 0.6))


class Outputs:
    """What attention to the video gives, before its last projection."""

    def __init__(self, backbone):
        self.seen, own = [], backbone.architecture
        blocks = own.blocks.of(backbone.components.transformer)
        self.hooks = [
            own.blocks.attention(block).to_out[0].register_forward_pre_hook(lambda m, x: self.seen.append(x[0]))
            for block in blocks
        ]

    def take(self):
        seen, self.seen = self.seen, []
        return seen


def test_what_is_taken_wholly_is_the_source_s_attention_of_like_rows(request):
    """Wan's attention to the video alone: with all three taken its output is the source's, row by row of guidance."""
    backbone = opened(request, "wan")
    (q, p), negative = states(backbone), backbone.embed("dark")
    made = control(backbone, q, queries=ALL, keys=ALL, values=ALL)
    rows = {"both": (negative, negative), "target": (None, negative), "from the source": (negative, made.source)}
    outputs = Outputs(backbone)
    for way, (of_source, of_target) in rows.items():
        source = backbone.velocity(made.source, 1.0 if of_source is None else 2.0, of_source)
        target = backbone.velocity(made.target, 3.0, of_target)
        with backbone.attend(made):
            source(q, 0.6)
            theirs = outputs.take()
            target(p, 0.6)
            ours = outputs.take()
        for a, b in zip(theirs, ours, strict=True):
            conditional = a[-2:]
            assert torch.equal(b[2:], conditional)
            assert torch.equal(b[:2], a[:2] if way == "both" else conditional)


def test_inside_and_outside_keep_to_their_sites(request):
    """Values taken outside alone, by queries and keys of the source: where they are the target's own they stay."""
    backbone = opened(request, "wan")
    q, p = states(backbone)
    made = control(backbone, q, queries=Share(1.0, 0.0, (0, 3)), blocks=(0.0, 0.4))
    source, target = backbone.velocity(made.source), backbone.velocity(made.target)
    outputs = Outputs(backbone)
    target(p, 0.6)
    plain = outputs.take()[0]
    with backbone.attend(made):
        source(q, 0.6)
        outputs.take()
        target(p, 0.6)
        moved = outputs.take()[0]
    f, h, w = backbone._guided._grid(q)
    inside = torch.zeros((f, h, w), dtype=torch.bool)
    inside[..., : w // 2] = True
    differs = (moved - plain).abs().amax((0, 2)) > 1e-6
    assert torch.equal(differs, inside.flatten())


def test_few_rows_at_a_time_are_the_same(request):
    for kind in ("5b", "wan"):
        made = []
        for rows in (0, 1, 3):
            backbone = opened(request, kind, rows=rows)
            (q, p), negative = states(backbone, rows=3), backbone.embed("dark")
            how = control(backbone, q, keys=ALL, values=Share(0.2, 0.9, (0, 3)), anchor_words=0.3, anchor_sites=0.3)
            source, target = backbone.velocity(how.source), backbone.velocity(how.target, 3.0, negative)
            with backbone.attend(how):
                source(q, 0.6)
                made.append(target(p, 0.6))
        for other in made[1:]:
            assert (other - made[0]).abs().max() < 1e-5 * made[0].abs().max()


def test_only_the_conditional_rows_are_bent(backbone):
    (_, p), negative = states(backbone), backbone.embed("dark")
    made = control(backbone, p, anchor_words=0.3, anchor_sites=0.3, word_weight=2.0)
    of_target, of_negative = (backbone.velocity(each) for each in (made.target, negative))
    guided = backbone.velocity(made.target, 3.0, negative)
    with backbone.attend(made):
        low, high = of_negative(p, 0.6), of_target(p, 0.6)
        whole = guided(p, 0.6)
    assert (whole - (low + 3.0 * (high - low))).abs().max() < 1e-4 * whole.abs().max()


@pytest.mark.parametrize("first", ["record", "attend"])
def test_a_recorder_of_the_same_blocks_reads_what_is_not_bent_and_is_shown_what_is_taken(backbone, first):
    q, p = states(backbone)
    bent = control(backbone, q, anchor_words=0.3, anchor_sites=0.3, word_weight=2.0)
    taken = replace(bent, anchor_words=0.0, anchor_sites=0.0, word_weight=1.0, queries=ALL, keys=ALL, blocks=(0.0, 0.4))
    source, target = backbone.velocity(bent.source), backbone.velocity(bent.target)
    tokens = {bent.target: [[1], [4]]}

    def maps(how, block):
        opening = {"record": lambda: backbone.record(tokens, [block]), "attend": lambda: backbone.attend(how)}
        order = [first, "attend" if first == "record" else "record"]
        with opening[order[0]]() as one, opening[order[1]]() as two:
            source(q, 0.6)
            u = target(p, 0.6)
            return u, (one if first == "record" else two).take(bent.target)

    with backbone.record(tokens, [0.0]) as read:
        target(p, 0.6)
        plain = read.take(bent.target)
    with backbone.attend(bent):
        moved = target(p, 0.6)
    u, seen = maps(bent, 0.0)
    assert (u - moved).abs().max() < 1e-5 * moved.abs().max()
    assert (seen - plain).abs().max() < 1e-6
    _, shown = maps(taken, 0.0)
    assert (shown - plain).abs().max() > 1e-5


def test_all_is_as_before_after_an_exception(backbone):
    q, p = states(backbone)
    made = control(backbone, q, values=ALL, anchor_words=0.3)
    source, target = backbone.velocity(made.source), backbone.velocity(made.target)
    network, plain = backbone.components.transformer, target(p, 0.6)
    processors = dict(network.attn_processors)

    def fail(*_):
        raise ValueError("midway")

    hook = backbone.architecture.blocks.of(network)[1].register_forward_hook(fail)
    with pytest.raises(ValueError, match="midway"), backbone.attend(made):
        source(q, 0.6)
    hook.remove()
    assert network.attn_processors == processors
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in network.modules())
    assert backbone._guided.controller is None
    assert torch.equal(target(p, 0.6), plain)
    inside = backbone.architecture.blocks.of(network)[1]
    with backbone.attend(made):
        unseen = target(p, 0.6)
    with backbone.attend(made):
        hook = inside.register_forward_hook(fail)
        with pytest.raises(ValueError, match="midway"):
            source(q, 0.6)
        hook.remove()
        assert torch.equal(target(p, 0.6), unseen)  # of a source that failed nothing is held
        source(q, 0.6)
        again = target(p, 0.6)
        assert not torch.equal(again, unseen)
    with backbone.attend(made):
        source(q, 0.6)
        assert torch.equal(target(p, 0.6), again)


@pytest.mark.parametrize("way", ["values", "outside", "anchored", "apart"])
def test_a_window_s_control_is_its_own(request, way):
    backbone = opened(request, "5b")
    q, p = states(backbone, frames=33, rows=1)
    places = windows.places(q.shape[2], 3, 0.3)
    assert len(places) > 2
    seen = windows.over(backbone, places)
    made = control(backbone, q, **WAYS[way])
    masks = half(q).roll(1, 4)
    masks[:, :, 4:] = masks[:, :, 4:].flip(0)
    made = replace(made, mask=lambda: masks[:1], regions=lambda: masks)
    source, target = seen.velocity(made.source), seen.velocity(made.target)
    with seen.attend(made):
        for t in (0.9, 0.6):
            source(q, t)
            whole = target(p, t)
    total = windows.WindowSum(places)
    own = backbone.velocity(made.source), backbone.velocity(made.target)
    for start, end in places:
        part = masks[:, :, start:end]
        alone = replace(made, mask=lambda part=part: part[:1], regions=lambda part=part: part)
        with backbone.attend(alone):
            own[0](q[:, :, start:end], 0.6)
            want = total.add(own[1](p[:, :, start:end], 0.6))
    assert torch.equal(whole, want)


def test_of_a_path_each_time_takes_the_nearest_of_the_way_up(backbone):
    q, p = states(backbone)
    made = control(backbone, q, values=Share(1.0, 1.0, (0, 2)), path=True)
    source, target = backbone.velocity(made.source), backbone.velocity(made.target)
    up = {t: torch.randn(q.shape, generator=torch.Generator().manual_seed(int(100 * t))) for t in (0.0, 0.3, 0.6)}
    wants = {}
    for t, nearest in ((0.9, 0.6), (0.6, 0.6), (0.4, 0.3)):
        with backbone.attend(made):
            source(up[nearest], nearest)
            wants[t] = target(p, t)
    with backbone.attend(made):
        for t, z in up.items():
            source(z, t)
        for t, want in wants.items():
            assert torch.equal(target(p, t), want)
        source(p, 0.6)  # the first of a time counts: what a mode evaluates on the way down is not the way up
        assert torch.equal(target(p, 0.6), wants[0.6])


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_held_is_what_memory_reckons_with(request, kind):
    folder = request.getfixturevalue(f"backbone_{kind}")
    backbone = opened(request, kind)
    (q, _), negative = states(backbone), backbone.embed("dark")
    made = control(backbone, q, keys=ALL, values=ALL)
    with backbone.attend(made) as controller:
        backbone.velocity(made.source, 2.0, negative)(q, 0.6)
        (held,) = controller._held._windows[None].values()
        storages = {part.untyped_storage().data_ptr(): part for parts in held._parts.values() for part in parts}
        size = sum(part.untyped_storage().nbytes() for part in storages.values())
    drawn, latent = memory.of_folder(folder), tuple(q.shape[1:])
    want = [
        memory.phases(drawn, latent, rows=4, precision=(4, 4, 4), taken=taken)["edit"]["control"] for taken in (8, 16)
    ]
    assert size == pytest.approx((want[1] - want[0]) * 2**30)  # two kinds of four rows


def test_a_share_follows_the_variance_of_what_is_foreseen_inside(backbone):
    q, p = states(backbone)
    made = control(backbone, q, values=Share(0.0, 1.0, (0, 3)), adapt=1.0)
    source, target = backbone.velocity(made.source), backbone.velocity(made.target)
    plain = {t: target(p, t) for t in (0.9, 0.6, 0.3)}
    clean = torch.stack([(p - t * plain[t]).mean(0) for t in (0.9, 0.6)])
    variance, share = float(clean.var(0)[..., : q.shape[-1] // 2].mean()), 0.7
    made = replace(made, adapt=variance / share)
    with backbone.attend(made):
        for t in (0.9, 0.6):  # of one time there is no variance
            source(q, t)
            assert torch.equal(target(p, t), plain[t])
        source(q, 0.3)
        got = target(p, 0.3)
    with backbone.attend(replace(made, adapt=0.0, values=Share(0.0, share, (0, 3)))):
        source(q, 0.3)
        want = target(p, 0.3)
    assert (want - plain[0.3]).abs().max() > 1e-3
    assert (got - want).abs().max() < 1e-5 * want.abs().max()
