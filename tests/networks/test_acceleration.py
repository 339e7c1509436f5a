"""A transformer that is made faster gives what it gave: kernels, fused projections, compiled blocks, two devices."""

import threading

import pytest
import torch
from diffusers.models import attention_dispatch
from diffusers.models.attention_processor import CogVideoXAttnProcessor2_0

from flowedit.backbones import families
from flowedit.messages import InputError
from flowedit.networks import acceleration, split
from flowedit.networks.acceleration import Acceleration
from flowedit.types import Guided

FOLDERS = ("backbone_2b", "backbone_5b", "backbone_15", "backbone_wan")


def load(path, rows=0, **how):
    return families.load(path, device="cpu", rows=rows, how=Acceleration(**how))


def latents(backbone, rows=1):
    shape = backbone.geometry(9, (64, 96)).latent
    return torch.randn((rows, *shape), generator=torch.Generator().manual_seed(0))


def outcome(backbone, rows=2):
    """A guided velocity, and the maps that were read with it."""
    prompt, negative = backbone.embed("a red fox"), backbone.embed("blurry")
    with backbone.record({prompt: [2]}, [0.5]) as maps:
        u = backbone.velocity(prompt, 4.0, negative)(latents(backbone, rows), 0.6)
        return u, maps.take(prompt)


def same(ours, theirs, tolerance):
    for mine, other in zip(ours, theirs, strict=True):
        assert (mine - other).abs().max() <= tolerance * other.abs().max()


@pytest.mark.parametrize("folder", FOLDERS[:3])
def test_the_processor_gives_the_bits_of_diffusers_own(request, folder):
    backbone = load(request.getfixturevalue(folder))
    ours, network = outcome(backbone), backbone.components.transformer
    network.set_attn_processor(CogVideoXAttnProcessor2_0())
    theirs = outcome(backbone)
    assert all(torch.equal(mine, other) for mine, other in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("folder", FOLDERS)
def test_fused_projections_are_equal_and_take_no_memory_twice(request, folder):
    path = request.getfixturevalue(folder)
    plain, fused = load(path), load(path, fuse=True)
    same(outcome(fused), outcome(plain), 1e-6)
    counts = [sum(p.numel() for p in each.components.transformer.parameters()) for each in (plain, fused)]
    assert counts[0] == counts[1]
    assert any(name.endswith("to_qkv") for name, _ in fused.components.transformer.named_modules())


@pytest.mark.parametrize("folder", ["backbone_5b", "backbone_wan"])
@pytest.mark.parametrize("how", ["option", "variable"])
def test_another_kernel_takes_every_block_but_those_that_are_read(request, monkeypatch, folder, how):
    path, registry, called = request.getfixturevalue(folder), attention_dispatch._AttentionBackendRegistry, []
    plain, name = load(path), attention_dispatch.AttentionBackendName._NATIVE_MATH
    math = registry._backends[name]
    monkeypatch.setitem(registry._backends, name, lambda *a, **k: called.append(1) or math(*a, **k))
    if how == "variable":
        monkeypatch.setattr(registry, "_active_backend", name)
    other = load(path, attention="math" if how == "option" else None)
    ours = outcome(other)
    # Of three blocks one is read; a block of Wan attends twice, and only the attention to its text is read.
    assert len(called) == (2 if folder == "backbone_5b" else 5)
    monkeypatch.setattr(registry, "_active_backend", attention_dispatch.AttentionBackendName.NATIVE)
    same(ours, outcome(plain), 1e-4)  # the sharp attention of the random Wan, guided, sees the rounding


@pytest.mark.parametrize("name", ["no_such_kernel", "sage", "flash_3_hub"])
def test_a_kernel_that_is_not_here_is_one_line(backbone_2b, name):
    with pytest.raises(InputError, match=rf"^runtime.attention={name} does not work here: unset it \(.+\)$"):
        load(backbone_2b, attention=name)


@pytest.mark.parametrize(
    ("asked", "found"), [("native", "native"), ("cudnn", "_native_cudnn"), ("_native_math", "_native_math")]
)
def test_names_of_kernels_need_no_underscore(asked, found):
    assert acceleration.kernel(asked) == found


class Compiler:
    """Stands for torch.compile: it counts the calls of what it compiled."""

    def __init__(self):
        self.calls = []

    def __call__(self, function, **how):
        assert how == {"fullgraph": True}

        def compiled(*args, **kwargs):
            self.calls.append(function)
            return function(*args, **kwargs)

        return compiled


@pytest.mark.parametrize("folder", ["backbone_2b", "backbone_wan"])
def test_every_block_is_compiled_but_those_that_are_read_while_they_are(request, monkeypatch, folder):
    compiler, path = Compiler(), request.getfixturevalue(folder)
    monkeypatch.setattr(torch, "compile", compiler)
    want, backbone = outcome(load(path)), load(path, compile=True)
    backbone.ready()
    compiler.calls.clear()
    got = outcome(backbone)
    assert len(compiler.calls) == 2  # of three; one is read
    assert all(torch.equal(mine, other) for mine, other in zip(got, want, strict=True))
    compiler.calls.clear()
    backbone.velocity(backbone.embed("a"))(latents(backbone), 0.5)
    assert len(compiler.calls) == 3


def test_compiled_blocks_that_came_to_stream_are_read_all_the_same(backbone_2b, monkeypatch):
    monkeypatch.setattr(torch, "compile", Compiler())
    want, backbone = outcome(load(backbone_2b)), load(backbone_2b, compile=True)
    backbone.components.lay("blocks")  # as where memory ran out
    assert all(torch.equal(mine, other) for mine, other in zip(outcome(backbone), want, strict=True))


def in_a_region(backbone):
    """Both velocities of a region pass, and the maps that were read in it."""
    source, target = (Guided(backbone.embed(text), scale) for text, scale in (("a fox", 1.0), ("a red panda", 3.0)))
    q, p = latents(backbone), latents(backbone).flip(2)
    part = torch.zeros_like(q[:, :1], dtype=torch.bool)
    part[..., :4, :5] = True
    with backbone.record({source.prompt: [1], target.prompt: [2]}, [0.5]) as maps:
        pair = backbone.pair_velocity(source, target)(q, p, 0.6, backbone.choose(part))
        return *pair, maps.take(source.prompt), maps.take(target.prompt)


@pytest.mark.parametrize("folder", ["backbone_5b", "backbone_wan"])
def test_the_region_pass_is_the_same_however_a_network_is_run(request, monkeypatch, folder):
    """It needs PyTorch's kernel and blocks whose hooks are heard: those that are compiled run as they are in it."""
    path, compiler = request.getfixturevalue(folder), Compiler()
    want = in_a_region(load(path))
    for how in ({"fuse": True}, {"attention": "math"}):
        backbone = load(path, **how)
        same(in_a_region(backbone), want, 1e-5)
    named = [getattr(module, "processor", None) for module in backbone.components.transformer.modules()]
    assert {each._attention_backend for each in named if each is not None} == {"_native_math"}  # again, after it
    monkeypatch.setattr(torch, "compile", compiler)
    backbone = load(path, compile=True)
    backbone.ready()
    compiler.calls.clear()
    assert all(torch.equal(mine, other) for mine, other in zip(in_a_region(backbone), want, strict=True))
    assert not compiler.calls
    backbone.velocity(backbone.embed("a"))(latents(backbone), 0.5)
    assert len(compiler.calls) == 3


def test_a_block_that_is_read_stays_uncompiled_after_a_region_pass(backbone_2b, monkeypatch):
    compiler = Compiler()
    monkeypatch.setattr(torch, "compile", compiler)
    backbone = load(backbone_2b, compile=True)
    backbone.ready()
    blocks = backbone.components.transformer.transformer_blocks
    with acceleration.uncompiled(blocks[1:2]):
        with acceleration.uncompiled(blocks):
            assert all(block.compiled_forward.plain for block in blocks)
        assert [block.compiled_forward.plain for block in blocks] == [False, True, False]
    assert not any(block.compiled_forward.plain for block in blocks)


def test_two_devices_have_no_region_pass(backbone_2b):
    backbone = load(backbone_2b, split_guidance="cpu")
    prompt = Guided(backbone.embed("a"))
    with pytest.raises(InputError, match=r"^mode.region=true runs in one process, on one device"):
        backbone.pair_velocity(prompt, prompt)


@pytest.mark.full
def test_compiled_blocks_give_the_same(backbone_5b):
    same(outcome(load(backbone_5b, compile=True)), outcome(load(backbone_5b)), 1e-5)


def test_a_machine_without_a_compiler_says_so_in_one_line(backbone_2b, monkeypatch):
    def refuse(*args, **kwargs):
        raise RuntimeError("Failed to find C compiler\nand so on")

    monkeypatch.setattr(torch, "compile", refuse)
    backbone = load(backbone_2b, compile=True)
    with pytest.raises(InputError, match=r"^runtime.compile=true needs a compiler.*cpu.*Failed to find C compiler\)$"):
        backbone.ready()


@pytest.mark.parametrize("folder", ["backbone_2b", "backbone_wan"])
@pytest.mark.parametrize("rows", [0, 1])
def test_two_devices_give_what_one_gives_and_work_at_the_same_time(request, monkeypatch, folder, rows):
    path, meeting, networks = request.getfixturevalue(folder), threading.Barrier(2, timeout=60), set()
    want, backbone = outcome(load(path, rows=rows), 2), load(path, rows=rows, split_guidance="cpu")
    run = backbone._run

    def met(network, *args):
        meeting.wait()  # breaks, and so fails, where one runs after the other
        networks.add(id(network))
        return run(network, *args)

    monkeypatch.setattr(backbone, "_run", met)
    got = outcome(backbone, 2)
    same(got, want, 1e-5)  # batches of another size
    assert len(networks) == 2
    assert backbone.evaluations == 4


def test_without_guidance_one_device_works_alone(backbone_2b, monkeypatch):
    backbone = load(backbone_2b, split_guidance="cpu")
    monkeypatch.setattr(backbone, "_output_there", lambda *a: pytest.fail("asked"))
    want = load(backbone_2b)
    z = latents(backbone)
    assert torch.equal(backbone.velocity(backbone.embed("a"))(z, 0.5), want.velocity(want.embed("a"))(z, 0.5))


def test_what_fails_on_the_second_device_fails_the_call(backbone_2b, monkeypatch):
    backbone = load(backbone_2b, split_guidance="cpu")

    def fail(*args):
        raise InputError("out of order")

    monkeypatch.setattr(backbone._guided, "_second", fail)
    with pytest.raises(InputError, match="out of order"):
        outcome(backbone)


@pytest.mark.parametrize(
    ("first", "second", "says"),
    [
        ("cpu", "cuda:7", "runtime.split_guidance 'cuda:7' is not here"),
        ("cpu", "tpu", "runtime.split_guidance 'tpu' is not one of"),
        ("cuda:0", "cpu", "both devices must be of one kind, and runtime.device is cuda"),
    ],
)
def test_a_second_device_that_cannot_be_is_one_line(first, second, says):
    with pytest.raises(InputError, match=says):
        split.second_device(second, torch.device(first))


def test_the_second_of_two_devices_is_another_one(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert split.second_device("cuda:1", torch.device("cuda")) == torch.device("cuda", 1)
    with pytest.raises(InputError, match=r"runtime.split_guidance=cuda:0 is runtime.device itself"):
        split.second_device("cuda:0", torch.device("cuda"))
