"""Processes that share each network call give what one gives; and all end when one of them fails."""

import multiprocessing
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from flowedit.backbones import families
from flowedit.config.compose import compose
from flowedit.media.footage import open_footage
from flowedit.messages import InputError
from flowedit.metrics.pixels import psnr
from flowedit.networks import acceleration, parallel
from flowedit.networks.acceleration import Acceleration

pytestmark = pytest.mark.slow
FORK = multiprocessing.get_context("fork")


def settings(count):
    return compose({"source": "a", "target": "b"}, ["runtime.device=cpu", f"runtime.context_parallel={count}"])


def outcome(backbone, size, rows):
    """A guided velocity of two draws, and the maps that were read with it."""
    generator = torch.Generator().manual_seed(0)
    z = torch.randn((2, *backbone.geometry(9, size).latent), generator=generator)
    prompt, negative = backbone.embed("a red fox"), backbone.embed("blurry")
    with backbone.record({prompt: [[1], [2, 3]]}, [[0.0, 0.5], [0.5]]) as maps:
        u = backbone.velocity(prompt, 4.0, negative)(z, 0.6)
        return u, maps.take(prompt), backbone.evaluations


def spread(count, lead, told=None):
    """`lead(processes)` in the first of `count` processes while the others follow; exit codes, what the first gave."""
    told = settings(count) if told is None else told
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    here, there = FORK.Pipe()

    def run(rank):
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(count)}
        os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": str(count)}
        torch.set_num_threads(1)
        processes = parallel.join(count, "cpu")
        if rank:
            os._exit(families.follow(Acceleration.of(told.runtime), processes))
        code = 1
        try:
            with parallel.leading(processes):
                there.send(lead(processes))
            code = 0
        except SystemExit as end:
            code = end.code
        finally:
            time.sleep(0.5)  # the others hear the end before the first one's store goes
            os._exit(code)

    family = [FORK.Process(target=run, args=(rank,)) for rank in range(count)]
    for each in family:
        each.start()
    there.close()  # so that the end of those that have it ends the wait
    try:
        made = here.recv() if here.poll(90) else None
    except EOFError:  # the first one failed
        made = None
    for each in family:
        each.join(30)
    codes = [each.exitcode for each in family]
    for each in family:
        each.kill()
    return codes, made


CASES = [
    ("backbone_2b", (64, 96), 0),  # all lengths are even
    ("backbone_5b", (48, 48), 1),  # 27 tokens of video, of which one process has more; a row a call
    ("backbone_15", (64, 96), 0),
    ("backbone_wan", (48, 48), 0),
]


def test_two_processes_give_what_one_gives(request):
    paths = [request.getfixturevalue(folder) for folder, _, _ in CASES]

    def all_of(**how):
        loaded = [
            families.load(path, device="cpu", rows=rows, how=Acceleration(**how))
            for path, (_, _, rows) in zip(paths, CASES, strict=True)
        ]
        return [outcome(each, size, rows) for each, (_, size, rows) in zip(loaded, CASES, strict=True)]

    def lead(processes):
        return [(u.numpy(), maps.numpy(), count) for u, maps, count in all_of(context_parallel=2)]

    want = all_of()
    codes, got = spread(2, lead)
    assert codes == [0, 0]
    for (u, maps, count), (v, read, counted) in zip(want, got, strict=True):
        assert count == counted
        for mine, theirs in ((u, v), (maps, read)):
            assert (mine - torch.from_numpy(theirs)).abs().max() <= 1e-5 * mine.abs().max()


def test_a_process_that_fails_says_why_once_and_ends_all(backbone_2b, monkeypatch, capfd):
    def broken(*args, **kwargs):
        raise InputError("its memory is\nfull")

    def lead(processes):
        monkeypatch.undo()
        backbone = families.load(backbone_2b, device="cpu", how=Acceleration(context_parallel=2))
        outcome(backbone, (64, 96), 0)

    monkeypatch.setattr(parallel, "_part", broken)
    codes, _ = spread(2, lead)
    assert codes == [1, 1]
    assert capfd.readouterr().err.strip() == "flowedit: process 1 of 2: its memory is"


def test_what_the_first_process_cannot_do_ends_the_others_in_silence(capfd):
    def lead(processes):
        raise InputError("no such clip")

    codes, _ = spread(2, lead)
    assert codes == [1, 1]
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(("asked", "started"), [(2, 1), (1, 2), (4, 2)])
def test_another_number_of_processes_is_one_line(monkeypatch, asked, started):
    monkeypatch.setenv("WORLD_SIZE", str(started))
    with pytest.raises(InputError, match=rf"^runtime.context_parallel={asked}, and {started} process.*torchrun"):
        parallel.check(asked)


def test_a_backbone_that_is_not_shared_out_says_how(backbone_2b):
    with pytest.raises(InputError, match=r"^runtime.context_parallel=2 needs 2 processes: torchrun --nproc-per-node 2"):
        families.load(backbone_2b, device="cpu", how=Acceleration(context_parallel=2))


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"compile": True}, "runtime.compile=true and runtime.context_parallel do not go together"),
        ({"split_guidance": "cpu"}, "runtime.split_guidance and runtime.context_parallel do not go together"),
        ({"attention": "math"}, "runtime.attention=_native_math cannot share a call"),
    ],
)
def test_what_does_not_go_together_is_one_line(how, says):
    with pytest.raises(InputError, match=says):
        acceleration.check(Acceleration(context_parallel=2, **how))


@pytest.mark.parametrize(
    ("how", "memory", "says"),
    [
        ({"compile": True, "split_guidance": "cpu"}, (), "compile=true and runtime.split_guidance"),
        ({"compile": True}, ("blocks",), "compile=true and runtime.offload=blocks"),
        ({"compile": True}, ("auto", "fp8"), "compile=true and runtime.weights=fp8"),
        ({"split_guidance": "cpu"}, ("blocks",), "split_guidance and runtime.offload=blocks"),
        ({"context_parallel": 2}, ("parts", "int8"), "context_parallel and runtime.weights=int8"),
        ({"context_parallel": 2}, ("blocks",), "context_parallel and runtime.offload=blocks"),
    ],
)
def test_what_does_not_go_with_less_memory_is_one_line(how, memory, says):
    with pytest.raises(InputError, match=rf"^runtime.{says} do not go together: leave one out$"):
        acceleration.check(Acceleration(**how), *memory)
    acceleration.check(Acceleration(), *memory)
    acceleration.check(Acceleration(split_guidance="cpu"), "parts", "fp8")


@pytest.mark.parametrize(("heads", "count"), [(4, 3), (30, 16)])
def test_heads_that_cannot_be_spread_are_one_line(heads, count):
    class Many:
        device, rank = torch.device("cpu"), 0

    Many.count = count
    with pytest.raises(InputError, match=rf"context_parallel={count} cannot spread the {heads} heads"):
        parallel.Shared(torch.nn.Identity(), Many(), heads, {})


@pytest.mark.full
def test_an_edit_by_two_processes_is_the_edit_by_one(backbone_2b, clip_file, tmp_path):
    """The whole way, by torchrun: the first process alone writes and speaks."""
    script = Path(__file__).resolve().parents[2] / "scripts" / "edit.py"
    given = [f"clip={clip_file}", "source=a fox", "target=a panda", "source_words=fox", "target_words=panda", "steps=3"]
    given += ["size=48x48", "frames=9", "backbone=folder", f"backbone.path={backbone_2b}", "runtime.device=cpu"]
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "0"]
    both = {}
    for count, start in ((1, [sys.executable]), (2, launch)):
        out = tmp_path / str(count)
        command = [*start, str(script), *given, f"out={out}", f"runtime.context_parallel={count}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=500, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert done.stdout.split() == [str(out / "edit.mp4")]
        both[count] = next(open_footage(out / "edit.mp4").read(range(9)))
    assert psnr(both[2], both[1]) > 45
    assert [each.name for each in tmp_path.iterdir() if each.is_dir()] == ["1", "2"]


@pytest.mark.full
def test_a_number_of_processes_that_does_not_fit_is_said_once_by_torchrun_s_first(clip_file, tmp_path):
    script = Path(__file__).resolve().parents[2] / "scripts" / "edit.py"
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "0"]
    command += [str(script), f"clip={clip_file}", "target=a panda", "source=a fox", "runtime.context_parallel=4"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500, cwd=tmp_path)
    assert done.returncode == 1
    said = [line for line in done.stderr.splitlines() if line.startswith("flowedit:")]
    assert said == [
        "flowedit: runtime.context_parallel=4, and 2 processes run: start as many, torchrun --nproc-per-node 4 "
        "scripts/edit.py ... runtime.context_parallel=4"
    ]
