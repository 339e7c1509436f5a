"""Attention whose keys are masked, and text behind the video: the recorder and the control against whole matrices."""

import pytest
import torch
import torch.nn.functional as F
from torch._subclasses.fake_tensor import FakeTensorMode

from flowedit.networks import attention
from flowedit.networks.control.bend import Bend, bent_attention
from flowedit.networks.recorder import Glance, Recorder, masked_inputs, recording
from flowedit.types import Conditioning

ROWS, HEADS, VIDEO, TEXT, UNPADDED, WIDTH = 2, 3, 40, 12, 7, 16
KEYS = torch.tensor([2, 3, 6])


def numbers(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def qkv(queries, keys, dtype=torch.float32):
    return [numbers(ROWS, HEADS, n, WIDTH, seed=i).to(dtype) for i, n in enumerate((queries, keys, keys))]


def holes(*shape):
    """True at most keys, and at the first, so that a row sees one."""
    seen = numbers(*shape, seed=9) > -0.5
    seen[..., 0] = True
    assert not seen.all()
    return seen


KINDS = ("rows", "heads", "queries", "additive", "finite")


def masks(queries, keys):
    soft = numbers(ROWS, HEADS, 1, keys, seed=8) * 3
    return {
        "rows": holes(ROWS, 1, 1, keys),
        "heads": holes(ROWS, HEADS, 1, keys),
        "queries": holes(queries, keys),
        "additive": soft,
        "finite": (~holes(ROWS, 1, 1, keys)).float() * -10000.0,
    }


def weights(q, k, mask):
    """The softmax, all of it, in float64."""
    logits = q.double() @ k.double().transpose(-1, -2) * WIDTH**-0.5
    return (logits.masked_fill(~mask, -torch.inf) if mask.dtype is torch.bool else logits + mask.double()).softmax(-1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("kernel", ["fused", "none"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_output_and_lse_are_those_of_what_is_seen(monkeypatch, kind, kernel, dtype):
    q, k, v = qkv(VIDEO, TEXT, dtype)
    mask = masked_inputs((q, k, v), {"attn_mask": masks(VIDEO, TEXT)[kind].to(dtype) if kind in ("additive", "finite")
                                     else masks(VIDEO, TEXT)[kind]})[4]  # fmt: skip
    assert mask.ndim == 4
    if kernel == "none":
        monkeypatch.setattr(torch, "_fused_sdp_choice", lambda *a, **k: 0)
    out, lse = attention.with_lse(q, k, v, None, mask)
    assert torch.equal(out, F.scaled_dot_product_attention(q, k, v, attn_mask=mask))
    assert (lse is None) is (kernel == "none")
    logits = q.double() @ k.double().transpose(-1, -2) * WIDTH**-0.5
    want = (logits + attention.additive(mask, torch.float64)).logsumexp(-1)
    for block in (5, 1024):
        monkeypatch.setattr(attention, "BLOCK", block)
        found = attention.blockwise_lse(q, k, None, mask) if lse is None else lse
        assert (found - want).abs().max() < {torch.float32: 3e-6, torch.bfloat16: 2e-2}[dtype]


def test_a_kernel_that_forgets_the_mask_is_found_and_left(monkeypatch):
    monkeypatch.setattr(attention, "HONEST", {})
    q, k, v = qkv(VIDEO, TEXT)
    fused = attention._fused
    monkeypatch.setattr(attention, "_fused", lambda kernel, q, k, v, scale, mask: (
        fused(kernel, q, k, v, scale, mask)[0], fused(kernel, q, k, v, scale, None)[1]))  # fmt: skip
    assert attention.with_lse(q, k, v, None, holes(ROWS, 1, 1, TEXT))[1] is None
    assert attention.with_lse(q, k, v)[1] is not None


class Attends(torch.nn.Module):
    """A module whose attention is the one that it is told."""

    def forward(self, *args, **kwargs):
        return F.scaled_dot_product_attention(*args, **kwargs)


@pytest.mark.parametrize("normalise", ["joint", "text"])
@pytest.mark.parametrize("kernel", ["fused", "none"])
@pytest.mark.parametrize("order", ["text first", "video first", "apart"])
@pytest.mark.parametrize("kind", ["rows", "heads", "additive", "finite"])
def test_columns_are_those_of_the_whole_masked_softmax(monkeypatch, kind, order, kernel, normalise):
    """Of the conditional rows, the last ones, each with its own mask."""
    text = {"text first": TEXT, "video first": -TEXT, "apart": 0}[order]
    keys = TEXT + (VIDEO if text else 0)
    q, k, v = qkv(VIDEO + abs(text), keys)
    mask = masks(q.shape[2], keys)[kind]
    if kernel == "none":
        monkeypatch.setattr(torch, "_fused_sdp_choice", lambda *a, **k: 0)
    prompt, module = Conditioning("", torch.zeros(1), ((0, 1),) * UNPADDED), Attends()
    watch = Recorder({prompt: KEYS.tolist()}, normalise)
    with (
        recording([module], watch, text),
        watch.call(prompt, lambda maps: maps) as parts,
        watch.rows(prompt, slice(1, 2), parts),
    ):
        out = module(q, k, v, attn_mask=mask)
    assert torch.equal(out, F.scaled_dot_product_attention(q, k, v, attn_mask=mask))
    first = VIDEO if text < 0 else 0
    video = slice(VIDEO) if text < 0 else slice(text, None)
    if normalise == "joint":
        want = weights(q, k, mask)[:, :, video, first + KEYS]
    else:
        own = slice(first, first + UNPADDED)
        want = weights(q[:, :, video], k[:, :, own], mask[..., own])[..., KEYS]
    assert (watch.take(prompt)[:, 0] - want[1:].mean((1, 3))).abs().max() < 1e-6


def test_what_a_mask_hides_has_no_attention():
    q, k, v = qkv(VIDEO + TEXT, VIDEO + TEXT)
    mask = torch.ones(ROWS, 1, 1, VIDEO + TEXT, dtype=torch.bool)
    mask[..., VIDEO + KEYS] = False
    glance = Glance([KEYS], UNPADDED, True, slice(0, 1))
    glance.attend(q, k, v, None, -TEXT, mask)
    assert torch.equal(glance.maps(), torch.zeros(1, 1, VIDEO))


BENDS = {
    "anchored": {"anchor_words": 0.3, "anchor_sites": 0.4},
    "weighted": {"weight": 3.0},
    "apart": {"apart": True},
}


def bend(kind):
    sites = numbers(2, VIDEO, seed=5) < -0.2
    return Bend(sites, [torch.tensor([2, 3]), torch.tensor([5])], UNPADDED, (True, True), **BENDS[kind])


@pytest.mark.parametrize("kind", BENDS)
@pytest.mark.parametrize("boolean", [True, False])
@pytest.mark.parametrize("text", [TEXT, -TEXT, 0])
def test_a_masked_key_is_as_good_as_none_to_a_bent_attention(kind, boolean, text):
    """Text first, without masked keys, is held to the whole matrix in test_control.py."""
    keys = TEXT + (VIDEO if text else 0)
    q, k, v = qkv(VIDEO + abs(text), keys)
    said = slice(TEXT)
    if text < 0:
        q, k, v = (each.roll(VIDEO, 2) for each in (q, k, v))  # the same tokens, text behind
        said = slice(VIDEO, None)
    mask = torch.ones(ROWS, 1, 1, keys, dtype=torch.bool)
    mask[..., said][..., UNPADDED:] = False
    bias = mask if boolean else (~mask).float() * -1e9
    got = bent_attention(q, k, v, None, text, bend(kind), bias)
    seen = mask[0, 0, 0].nonzero()[:, 0]
    k, v = k[:, :, seen], v[:, :, seen]
    if text < 0:
        q, k, v = q.roll(-VIDEO, 2), k.roll(-VIDEO, 2), v.roll(-VIDEO, 2)
        got = got.roll(-VIDEO, 2)
    if text:
        q = torch.cat([q[:, :, :UNPADDED], q[:, :, TEXT:]], 2)
        got = torch.cat([got[:, :, :UNPADDED], got[:, :, TEXT:]], 2)
    want = bent_attention(q, k, v, None, UNPADDED if text else 0, bend(kind))
    assert (got - want).abs().max() < 1e-5


@pytest.mark.parametrize("kind", BENDS)
@pytest.mark.parametrize("boolean", [True, False])
@pytest.mark.parametrize("text", [TEXT, -TEXT])
def test_a_text_that_is_masked_all_through_leaves_the_video_to_itself(kind, boolean, text):
    """As Mochi's blank prompt; the other row is seen, and comes out as it does alone."""
    q, k, v = qkv(TEXT + VIDEO, TEXT + VIDEO)
    mask = torch.ones(ROWS, 1, 1, TEXT + VIDEO, dtype=torch.bool)
    said, video = (slice(TEXT), slice(TEXT, None)) if text > 0 else (slice(VIDEO, None), slice(VIDEO))
    mask[0, ..., said] = False
    got = bent_attention(q, k, v, None, text, bend(kind), mask if boolean else attention.additive(mask, q.dtype))
    alone = F.scaled_dot_product_attention(q[:1, :, video], k[:1, :, video], v[:1, :, video])
    assert (got[:1, :, video] - alone).abs().max() < 1e-5
    assert got.isfinite().all()
    seen = bent_attention(q[1:], k[1:], v[1:], None, text, bend(kind), mask[1:])
    assert torch.allclose(got[1:], seen, atol=1e-5)


def test_a_query_that_sees_no_word_takes_nothing_from_a_text_of_its_own():
    q, k, v = qkv(VIDEO, TEXT)
    mask = torch.ones(ROWS, 1, VIDEO, TEXT, dtype=torch.bool)
    mask[:, :, 3] = False
    got = bent_attention(q, k, v, None, 0, bend("weighted"), mask)
    assert torch.equal(got[:, :, 3], torch.zeros_like(got[:, :, 3]))
    whole = bent_attention(q, k, v, None, 0, bend("weighted"))
    rest = [i for i in range(VIDEO) if i != 3]
    assert torch.equal(got[:, :, rest], whole[:, :, rest])


@pytest.mark.parametrize("choice", [2, 3], ids=["efficient", "cudnn"])
@pytest.mark.parametrize("keys", [200, 226])
def test_cuda_kernels_take_masks_as_they_are_declared(monkeypatch, choice, keys):
    """Shapes alone, without a GPU."""
    monkeypatch.setattr(torch, "_fused_sdp_choice", lambda *a, **k: choice)
    monkeypatch.setattr(attention, "HONEST", {})
    monkeypatch.setattr(attention, "_honest", lambda *a: True)
    with FakeTensorMode():
        q, k, v = (torch.empty(2, 3, n, 64, device="cuda", dtype=torch.bfloat16) for n in (100, keys, keys))
        out, lse = attention.with_lse(q, k, v, None, torch.ones(2, 1, 1, keys, dtype=torch.bool, device="cuda"))
    assert out.shape == q.shape
    assert lse.shape == (2, 3, 100)
