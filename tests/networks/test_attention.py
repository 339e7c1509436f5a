"""The recorder against a materialised softmax, on attention shaped like each CogVideoX."""

import gc
import weakref
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from diffusers import CogVideoXTransformer3DModel
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from flowedit.backbones import families
from flowedit.networks import attention, recorder
from flowedit.types import Conditioning

TEXT, KEYS = 12, torch.tensor([2, 3, 7])


def qkv(dtype, n=200, heads=3, d=64, rows=2):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn((rows, heads, n, d), generator=generator).to(dtype) for _ in range(3)]


def softmax(q, k, keys=None):
    scores = (q.double() @ k[:, :, :keys].double().transpose(-1, -2)) * q.shape[-1] ** -0.5
    return scores.softmax(-1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_kernel_s_output_is_untouched_and_its_lse_is_right(dtype):
    q, k, v = qkv(dtype)
    out, lse = attention.with_lse(q, k, v)
    assert torch.equal(out, F.scaled_dot_product_attention(q, k, v))
    assert lse.dtype == torch.float32
    exact = (q.double() @ k.double().transpose(-1, -2) / 8).logsumexp(-1)
    assert (lse - exact).abs().max() < {torch.float32: 2e-6, torch.bfloat16: 1e-4}[dtype]


def test_a_kernel_without_lse_falls_back_to_blocks_of_the_same_value(monkeypatch):
    q, k, v = qkv(torch.float32)
    monkeypatch.setattr(torch, "_fused_sdp_choice", lambda *a, **k: 0)
    out, lse = attention.with_lse(q, k, v)
    assert lse is None
    assert torch.equal(out, F.scaled_dot_product_attention(q, k, v))
    for block in (7, 64, 4096):
        monkeypatch.setattr(attention, "BLOCK", block)
        exact = (q.double() @ k.double().transpose(-1, -2) / 8).logsumexp(-1)
        assert (attention.blockwise_lse(q, k) - exact).abs().max() < 2e-6


@pytest.mark.parametrize("error", [NotImplementedError, TypeError, AttributeError, ValueError])
def test_a_device_that_names_no_kernel_takes_blocks_and_gives_the_same_maps(backbone_5b, monkeypatch, error):
    """As on Apple's MPS, for which PyTorch has no such choice."""

    def maps():
        backbone = families.load(backbone_5b, device="cpu")
        prompt, z = backbone.embed("a fox"), torch.randn((1, *backbone.geometry(9, (64, 96)).latent), generator=seed())
        with backbone.record({prompt: [1]}, [0.5]) as taken:
            u = backbone.velocity(prompt)(z, 0.5)
            return u, taken.take(prompt)

    want, map_ = maps()

    def refuse(*args, **kwargs):
        raise error("no kernel")

    monkeypatch.setattr(torch, "_fused_sdp_choice", refuse)
    got, blocks = maps()
    assert torch.equal(got, want)
    assert (blocks - map_).abs().max() < 1e-7


def seed():
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("device", ["meta"])
def test_other_devices_are_not_asked(monkeypatch, device):
    monkeypatch.setattr(torch, "_fused_sdp_choice", lambda *a, **k: pytest.fail("asked"))
    q = torch.empty(1, 2, 40, 16, device=device)
    out, lse = attention.with_lse(q, q, q)
    assert (out.shape, lse) == (q.shape, None)


@pytest.mark.parametrize(
    "wrong", [lambda lse: lse / 0.6931, lambda lse: lse + 1, lambda lse: lse * torch.nan], ids=["base 2", "off", "nan"]
)
def test_a_kernel_whose_lse_is_not_what_it_should_be_is_found_once_and_left(monkeypatch, wrong):
    q, k, v = qkv(torch.bfloat16)
    monkeypatch.setattr(attention, "HONEST", {})
    fused, asked = attention._fused, []

    def lies(*args):
        asked.append(1)
        out, lse = fused(*args)
        return out, wrong(lse)

    monkeypatch.setattr(attention, "_fused", lies)
    for _ in range(3):
        out, lse = attention.with_lse(q, k, v)
        assert lse is None
        assert torch.equal(out, F.scaled_dot_product_attention(q, k, v))
    assert len(asked) == 1
    monkeypatch.setattr(attention, "_fused", fused)
    assert attention.with_lse(q, k, v)[1] is None  # this kernel at this size and precision
    assert attention.with_lse(*qkv(torch.float32))[1] is not None  # and no other


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_kernels_of_a_cpu_are_honest_and_looked_at_once(monkeypatch, dtype):
    monkeypatch.setattr(attention, "HONEST", {})
    looks, look = [], attention._honest
    monkeypatch.setattr(attention, "_honest", lambda *a: looks.append(1) or look(*a))
    for n in (5, 200):
        assert attention.with_lse(*qkv(dtype, n))[1] is not None
    assert (len(looks), set(attention.HONEST.values())) == (1, {True})


@pytest.mark.parametrize("normalise", ["joint", "text"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.bfloat16, 1e-4)])
def test_columns_equal_the_materialised_softmax(dtype, tolerance, normalise):
    q, k, v = qkv(dtype)
    _, lse = attention.with_lse(q, k, v)
    ours = attention.token_attention(q, k, lse if normalise == "joint" else None, KEYS, TEXT)
    exact = softmax(q, k, None if normalise == "joint" else TEXT)[..., KEYS].mean((1, 3))
    assert ours.dtype == torch.float32
    assert (ours - exact).abs().max() < tolerance


class Peak(TorchDispatchMode):
    """The most bytes that tensors made inside held at once."""

    def __init__(self):
        super().__init__()
        self.live = self.peak = 0
        self.seen = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, (tuple, list)) else [out]:
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                if storage.data_ptr() not in self.seen and storage.nbytes():
                    self.seen.add(storage.data_ptr())
                    self.live += storage.nbytes()
                    self.peak = max(self.peak, self.live)
                    weakref.finalize(storage, self.free, storage.data_ptr(), storage.nbytes())
        return out

    def free(self, pointer, size):
        self.seen.discard(pointer)
        self.live -= size


@pytest.mark.parametrize("kernel", ["fused", "blockwise"])
@pytest.mark.parametrize("normalise", ["joint", "text"])
def test_doubling_the_tokens_at_most_doubles_the_memory(kernel, normalise):
    def peak(n):
        q, k, v = qkv(torch.float32, n, heads=2, d=16, rows=1)
        gc.collect()
        with Peak() as meter:
            _, lse = attention.with_lse(q, k, v)
            if kernel == "blockwise":
                lse = attention.blockwise_lse(q, k)
            attention.token_attention(q, k, lse if normalise == "joint" else None, KEYS, 64)
        return meter.peak

    sizes = [peak(n) for n in (2048, 4096, 8192)]
    assert all(b <= 2.2 * a for a, b in pairwise(sizes)), sizes
    assert sizes[-1] < 8192 * 8192 * 4  # and no N x N matrix, in any case


class Exact:
    """Materialises each watched attention's softmax, by a look at its arguments, for the test to compare with."""

    def __init__(self, monkeypatch):
        self.calls = []
        original = recorder.with_lse

        def spy(q, k, v, scale, mask):
            assert mask is None
            self.calls.append((q.detach().clone(), k.detach().clone()))
            return original(q, k, v, scale, mask)

        monkeypatch.setattr(recorder, "with_lse", spy)


@pytest.mark.parametrize("normalise", ["joint", "text"])
@pytest.mark.parametrize("kind", ["2b", "5b", "15"])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-6), ("bfloat16", 1e-4)])
def test_maps_of_each_backbone_equal_the_softmax_of_their_rows(request, monkeypatch, kind, dtype, tolerance, normalise):
    folder = request.getfixturevalue(f"backbone_{kind}")
    backbone = families.load(folder, device="cpu", dtype=dtype)
    source, target, negative = (backbone.embed(p) for p in ("a red fox runs", "a panda runs", ""))
    tokens = {source: [2, 3], target: [1, 2]}
    shape = backbone.geometry(9, (64, 96)).latent
    z = torch.randn((2, *shape), generator=torch.Generator().manual_seed(0))
    text, p = 226, 2
    with backbone.record(tokens, [0.0, 0.7], normalise) as maps:
        exact = Exact(monkeypatch)
        for prompt, scale in [(source, 1.0), (target, 5.0)]:
            exact.calls.clear()
            backbone.velocity(prompt, scale, negative)(z, 0.6)
            assert len(exact.calls) == 2  # the two chosen blocks alone
            want = 0
            for q, k in exact.calls:
                q, k = q[-2:], k[-2:]  # conditional rows stand last
                keys = None if normalise == "joint" else len(prompt.spans)
                want = want + softmax(q[:, :, text:], k, keys)[..., tokens[prompt]].mean((1, 3)) / 2
            got = maps.take(prompt)
            assert got.shape == (2, 1, *shape[1:])
            p_t = 2 if kind == "15" else 1
            grid = want.view(2, shape[1] // p_t, shape[2] // p, shape[3] // p)
            grid = grid.repeat_interleave(p_t, 1).repeat_interleave(p, 2).repeat_interleave(p, 3)
            assert (got[:, 0] - grid).abs().max() < tolerance
            assert maps.take(prompt) is None
            assert (got[0] - got[1]).abs().max() > 0  # draws are kept apart


def test_rows_of_several_network_calls_join_and_calls_are_averaged(backbone_5b):
    whole, split = (families.load(backbone_5b, device="cpu", rows=rows) for rows in (0, 2))
    z = torch.randn((3, *whole.geometry(9, (64, 96)).latent), generator=torch.Generator().manual_seed(0))
    taken = []
    for backbone in (whole, split):
        prompt, negative = backbone.embed("a fox"), backbone.embed("")
        velocity = backbone.velocity(prompt, 3.0, negative)
        with backbone.record({prompt: [1]}, [0.5]) as maps:
            velocity(z, 0.5)
            taken.append(maps.take(prompt))
            velocity(z, 0.5)
            velocity(z, 0.9)
            mean = maps.take(prompt)
            velocity(z, 0.9)
            assert torch.allclose(mean, (taken[-1] + maps.take(prompt)) / 2, atol=1e-7)
    assert taken[0].shape[0] == 3
    assert torch.allclose(*taken, atol=1e-6)


@pytest.mark.parametrize("kind", ["2b", "5b", "15"])
def test_recording_changes_no_output_and_leaves_nothing_behind(request, kind):
    backbone = families.load(request.getfixturevalue(f"backbone_{kind}"), device="cpu")
    prompt = backbone.embed("a fox")
    z = torch.randn((2, *backbone.geometry(9, (64, 96)).latent))
    velocity = backbone.velocity(prompt)
    before = velocity(z, 0.5)
    net = backbone.components.transformer
    processors = dict(net.attn_processors)
    with backbone.record({prompt: [1]}, [0.0, 0.5, 0.9]) as maps:
        assert torch.equal(velocity(z, 0.5), before)
        assert maps.take(prompt) is not None
    with pytest.raises(ValueError, match="midway"), backbone.record({prompt: [1]}, [0.5]):
        fail("midway")
    handle = net.transformer_blocks[1].attn1.to_out[0].register_forward_hook(lambda *_: fail("network"))
    with pytest.raises(ValueError, match="network"), backbone.record({prompt: [1]}, [0.5]):
        velocity(z, 0.5)
    handle.remove()
    assert net.attn_processors == processors
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())
    assert torch.equal(velocity(z, 0.5), before)
    with backbone.record({prompt: [1]}, [0.5]) as maps:
        velocity(z, 0.5)
        assert maps.take(prompt) is not None  # works again after an exception inside the network


def fail(where):
    raise ValueError(where)


def test_prompts_without_tokens_are_not_recorded(backbone_2b):
    backbone = families.load(backbone_2b, device="cpu")
    a, b = backbone.embed("a fox"), backbone.embed("a fox")  # equal prompts are two conditionings
    z = torch.randn((1, *backbone.geometry(9, (64, 96)).latent))
    with backbone.record({a: [1], b: []}, [0.5]) as maps:
        backbone.velocity(b)(z, 0.5)
        assert maps.take(a) is None
        assert maps.take(b) is None
        backbone.velocity(a)(z, 0.5)
        assert maps.take(b) is None
        assert maps.take(a) is not None


@pytest.mark.parametrize("kind", ["5b", "15", "wan"])
def test_groups_of_blocks_are_read_apart_in_one_pass(request, kind):
    backbone = families.load(request.getfixturevalue(f"backbone_{kind}"), device="cpu")
    prompt, tokens = backbone.embed("a red fox"), [[1], [2, 3]]
    z = torch.randn((2, *backbone.geometry(9, (64, 96)).latent), generator=torch.Generator().manual_seed(0))
    velocity, groups = backbone.velocity(prompt), [[0.9], [0.0], [0.0, 0.5, 0.9], [0.0]]

    def read(blocks):
        with backbone.record({prompt: tokens}, blocks) as maps:
            velocity(z, 0.6)
            return maps.take(prompt)

    whole = read(groups)
    assert whole.shape[:2] == (2, len(groups) * len(tokens))
    for group, part in zip(groups, whole.chunk(len(groups), 1), strict=True):
        assert torch.allclose(part, read(group), atol=1e-7)
    with pytest.raises(ValueError, match=r"mask\.blocks"):
        read([[0.5], [1.0]])


def test_blocks_are_fractions_of_the_depth():
    assert recorder.block_indices([[0.6], [0.1, 0.6]], 30) == [3, 18]
    assert recorder.block_groups([[0.6], [0.1, 0.6]], 30) == [[1], [0, 1]]
    assert recorder.block_groups([0.6], 30) is None
    assert recorder.block_indices([0.6], 30) == [18]
    assert recorder.block_indices([0.0, 0.5, 0.99, 0.5], 4) == [0, 2, 3]
    for bad in ([1.0], [-0.1], []):
        with pytest.raises(ValueError, match=r"mask\.blocks"):
            recorder.block_indices(bad, 30)


def test_an_attention_in_causal_order_is_refused_rather_than_misread():
    watch = recorder.Recorder({}, "joint")
    watch._prompt = Conditioning("", torch.zeros(1), ())
    q, k, v = qkv(torch.float32, 16)
    with recorder._Tap(watch, 4), pytest.raises(RuntimeError, match="causal order"):
        F.scaled_dot_product_attention(q, k, v, is_causal=True)


@pytest.mark.parametrize("heads", [2, pytest.param(30, marks=pytest.mark.full)])
def test_one_block_at_the_real_token_count(monkeypatch, heads):
    """CogVideoX-2b's: 226 text and 13 x 30 x 45 video tokens, heads of 64; against a softmax of some queries."""
    with torch.device("meta"):
        net = CogVideoXTransformer3DModel(num_layers=1, num_attention_heads=heads)
    net = net.to_empty(device="cpu").to(torch.bfloat16).eval()
    generator = torch.Generator().manual_seed(0)
    for weight in [*net.parameters(), *net.buffers()]:
        weight.data.normal_(0, 0.02, generator=generator)
    exact, prompt = Exact(monkeypatch), Conditioning("", torch.zeros(1), ((0, 1),) * 20)
    watch = recorder.Recorder({prompt: [int(key) for key in KEYS]}, "joint")
    inputs = {
        "hidden_states": torch.randn((1, 13, 16, 60, 90), generator=generator).bfloat16(),
        "encoder_hidden_states": torch.randn((1, 226, 4096), generator=generator).bfloat16(),
        "timestep": torch.tensor([500.0]),
    }
    block = net.transformer_blocks[0].attn1
    with (
        torch.no_grad(),
        recorder.recording([block], watch, 226),
        watch.call(prompt, lambda maps: maps) as parts,
        watch.rows(prompt, slice(0, 1), parts),
    ):
        out = net(**inputs, return_dict=False)[0]
    assert torch.isfinite(out).all()
    ((q, k),) = exact.calls
    assert q.shape == (1, heads, 226 + 13 * 30 * 45, 64)
    some = torch.arange(0, 13 * 30 * 45, 997)
    want = softmax(q[:, :, 226 + some], k)[..., KEYS].mean((1, 3))
    assert (watch.take(prompt)[:, 0, some] - want).abs().max() / want.max() < 1e-3


@pytest.mark.parametrize("choice", [1, 2, 3], ids=["flash", "efficient", "cudnn"])
@pytest.mark.parametrize("n", [200, 226])
def test_cuda_kernels_are_called_as_they_are_declared(monkeypatch, choice, n):
    """Shapes alone, without a GPU: efficient pads the log-sum-exp to a multiple of 32, cuDNN keeps a last axis."""
    monkeypatch.setattr(torch, "_fused_sdp_choice", lambda *a, **k: choice)
    monkeypatch.setattr(attention, "HONEST", {})
    monkeypatch.setattr(attention, "_honest", lambda *a: True)  # fake tensors have no content to look at
    with FakeTensorMode():
        q, k, v = (torch.empty(2, 3, n, 64, device="cuda", dtype=torch.bfloat16) for _ in range(3))
        out, lse = attention.with_lse(q, k, v)
    assert out.shape == q.shape
    assert lse.shape == (2, 3, n)
    assert lse.dtype == torch.float32
