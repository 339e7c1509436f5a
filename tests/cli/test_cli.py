"""The command as a hostile but fair user meets it: one clear line, exit code 1, nothing half-written."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch
import yaml
from conftest import write_clip
from safetensors.torch import load_file, save_file

from flowedit.cli import flags, main
from flowedit.config import compose
from flowedit.config.folder import folder

SMALL = ("--steps", 2, "--size", "48x32", "--frames", 5, "--quiet")


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """A working folder that holds the results of an earlier run; every test starts in it."""
    monkeypatch.chdir(tmp_path)
    earlier = tmp_path / "out"
    earlier.mkdir()
    for name in ("edit.mp4", "compare.mp4", "mask.mp4", "run.yaml"):
        (earlier / name).write_bytes(b"an earlier " + name.encode())
    return tmp_path


@pytest.fixture
def edit(command, clip_file, backbone_2b):
    """`flowedit edit` on the clip and the random backbone, unless the arguments say otherwise."""

    def run(*args, video=clip_file, source="a dog runs", target="a fox runs", out="out"):
        flags = ("--backbone", backbone_2b, "--source", source, "--target", target, "--out", out)
        return command("edit", video, *flags, *SMALL, *args)

    return run


@pytest.fixture
def refused(place):
    """Asserts that a call ended in one line that says all of `says`, and that the folder is as it was."""

    def check(call, *args, says=(), **kwargs):
        before = snapshot(place)
        code, out, err = call(*args, **kwargs)
        lines = err.splitlines()
        assert code == 1, err
        assert out == ""
        assert lines[-1].startswith("flowedit: "), err
        assert sum(line.startswith("flowedit: ") for line in lines) == 1, err
        assert all(line.startswith("note: ") for line in lines[:-1]), err
        assert "Traceback" not in err
        for text in [says] if isinstance(says, str) else says:
            assert text in lines[-1]
        assert snapshot(place) == before
        return lines[-1]

    return check


@pytest.fixture
def broken(backbone_2b, place):
    """A copy of the backbone that may be damaged; linked, not copied, until a file is replaced."""
    copy = place / "broken"
    shutil.copytree(backbone_2b, copy)
    return copy


@pytest.fixture
def composed(command, monkeypatch):
    """The settings that a command line comes to, without a network run."""

    def settings(*args):
        caught = []

        def stop(settings, *_):
            caught.append(settings)
            raise ValueError("caught")

        monkeypatch.setattr("flowedit.pipeline.api.check", stop)
        _, _, err = command("edit", *args)
        assert caught, err
        return caught[0]

    return settings


def snapshot(folder):
    """Every path in a folder, hidden ones too, with the bytes of files, but for edits that wait to go on."""
    left = [path for path in sorted(folder.rglob("*")) if ".unfinished" not in str(path.relative_to(folder))]
    waiting = {parent for path in folder.rglob("*.unfinished") for parent in path.parents}
    return {
        path: path.read_bytes() if path.is_file() else None
        for path in left
        if path not in waiting or any(path in each.parents for each in left if each not in waiting)
    }


def weights(folder, component):
    return next((folder / component).glob("*.safetensors"))


def poison(folder, component, part):
    """Put one NaN into the first tensor whose name holds `part`."""
    path = weights(folder, component)
    tensors = load_file(path)
    name = next(name for name in tensors if part in name)
    tensors[name].view(-1)[0] = float("nan")
    save_file(tensors, path, metadata={"format": "pt"})


# Help and the shape of the command


def test_help_imports_nothing_heavy():
    script = (
        "import sys; from flowedit.cli.main import main\n"
        "try: main(['edit', '--help'])\n"
        "except SystemExit: pass\n"
        "print([m for m in ('torch', 'hydra', 'diffusers', 'transformers', 'numpy', 'rich') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert "--strength" in done.stdout


def test_help_names_every_flag_and_true_defaults(command):
    code, out, _ = command("edit", "--help")
    assert code == 0
    said, edit = " ".join(out.split()), yaml.safe_load((folder() / "edit.yaml").read_text(encoding="utf-8"))
    small = asdict(compose.compose({}))
    for name in flags.FLAGS:
        assert f"--{name.replace('_', '-')}" in said
        text = re.search(
            rf"--{name.replace('_', '-')} (?:\S+ ){{1,6}}?{re.escape(flags.OPTIONS[name].help)}( \(default [^)]*\))?",
            said,
        )
        assert text, name
        if name not in compose.GROUPS and edit[name] not in (None, ""):
            shown = str(edit[name]).lower() if isinstance(edit[name], bool) else f"{edit[name]}"
            assert shown in text[1]
            own = list(small[name]) if isinstance(small[name], tuple) else small[name]
            assert own == edit[name] or f"pocket {own:g}" in text[1]
    assert command("--version")[1].startswith("flowedit ")


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ((), "no command: flowedit edit CLIP"),
        (("edt",), "did you mean 'edit'"),
        (("edit",), "no clip"),
        (("edit", "--stepz", "4"), ("unknown option --stepz", "--steps")),
        (("edit", "--target_guidence_scale", "4"), "--target-guidance-scale"),
        (("edit", "clip.mp4", "--source"), ("--source needs a value", "--source=-")),
        (("edit", "clip.mp4", "--source", "-a dog"), "does not exist"),
        (("edit", "clip.mp4", "--source", "-dog"), "--source=-"),
        (("edit", "a.mp4", "b.mp4"), "one clip at a time"),
        (("edit", "clip.mp4", "--target", "a", "fox"), "quote"),
        (("edit", "none.mp4"), "none.mp4 does not exist"),
        (("edit", "--", "-none.mp4"), "-none.mp4 does not exist"),
        (("generate",), "no prompt"),
        (("generate", "--prompt", "a", "--source", "b"), "--source"),
        (("generate", "--prompt", "a", "mode=inversion"), "no mode"),
        (("generate", "--prompt", "a", "strength=0.5"), "no strength"),
        (("generate", "--prompt", "a", "clip.mp4"), "clip.mp4"),
    ],
)
def test_command_mistakes(refused, command, args, says):
    refused(command, *args, says=says)


def test_debug_shows_the_traceback(command):
    with pytest.raises(FileNotFoundError):
        command("edit", "none.mp4", "--debug")


# Clips


def test_files_that_are_no_clip(refused, edit, clip_file, place):
    whole = clip_file.read_bytes()
    (place / "empty.mp4").touch()
    (place / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    (place / "text.mp4").write_text("not a video", encoding="utf-8")
    (place / "folder.mp4").mkdir()
    (place / "folder.yaml").mkdir()
    said = {
        "none.mp4": "does not exist",
        "empty.mp4": "is empty",
        "cut.mp4": "is truncated",
        "text.mp4": "is not a video",
        "folder.mp4": "is a folder",
        "folder.yaml": "is not a file",
        "none.yaml": "does not exist",
        "text.mp4/clip.mp4": "does not exist",
    }
    for name, text in said.items():
        refused(edit, video=name, says=(name, text))


def test_unreadable_clip(refused, edit, clip_file, place, monkeypatch):
    shutil.copy(clip_file, place / "secret.mp4")
    real = Path.open

    def closed(self, *args, **kwargs):
        if self.name == "secret.mp4":
            raise PermissionError(13, "Permission denied", str(self))
        return real(self, *args, **kwargs)

    monkeypatch.setattr(Path, "open", closed)
    before = set(place.rglob("*"))
    code, _, err = edit(video="secret.mp4")
    assert code == 1
    assert err.splitlines() == ["flowedit: secret.mp4 cannot be read: Permission denied; check its permissions"]
    assert set(place.rglob("*")) == before


# Values


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("--steps", "0"), "steps 0"),
        (("--steps", "2.5"), "whole number"),
        (("--steps", "many"), "whole number"),
        (("--steps", ""), "whole number"),
        (("--steps", "100000"), "1 to 1000"),
        (("--steps", "[1,"), "'steps=[1,' cannot be read"),
        (("--strength", "1.01"), "strength 1.01"),
        (("--strength", "-0.1"), "strength -0.1"),
        (("--strength", "nan"), "strength nan"),
        (("--strength", "inf"), "strength inf"),
        (("--strength", "half"), "is not a number"),
        (("--source-guidance-scale", "-1"), "source_guidance_scale -1"),
        (("--target-guidance-scale", "1000"), "0 to 100"),
        (("--target-guidance-scale", "true"), "is not a number"),
        (("--draws", "0"), "draws 0"),
        (("--seed", "-1"), "seed -1"),
        (("--seed", "x"), "seed 'x'"),
        (("--start", "12"), "0 to 11"),
        (("--start", "-1"), "start -1"),
        (("--frames", "13"), "1 to 12"),
        (("--frames", "0"), "frames 0"),
        (("--fps", "0"), "frame rate"),
        (("--fps", "11"), "at most 10"),
        (("--size", "64"), "WIDTHxHEIGHT"),
        (("--size", "0x64"), "WIDTHxHEIGHT"),
        (("--composite", "maybe"), "true or false or auto"),
        (("--fit", "stretch"), "crop, pad"),
        (("--mode", "inverson"), ("one of ", "flowdirector_v1, ", "'inversion'")),
        (("--mask", "atention"), "'attention'"),
        (("--averaging", "diferential"), "'differential'"),
        (("--backbone", "cogvideox-2bb"), "'cogvideox-2b'"),
        (("--backbone", ""), "unknown backbone"),
        (("--backbone", "out/edit.mp4"), "unknown backbone"),
        (("--backbone", "folder"), "backbone.path=DIR"),
        (("runtime.device=gpu",), "auto, cpu, cuda"),
        (("runtime.dtype=fp16",), "float16"),
        (("runtime.threads=0",), "runtime.threads 0"),
        (("mask.blocks=[2]",), "0 to 1"),
        (("mask.blocks=[]",), "one or more"),
        (("mask.quantile=1",), "below 1"),
        (("mask.decay=0",), "above 0"),
        (("mask.treshold=otsu",), "'mask.threshold'"),
        (("mask.threshold=ostu",), "mean, quantile, otsu"),
        (("mode.solver=heun",), "mode=inversion or random_noise"),
        (("mode.grid=given",), "mode.times"),
        (("mode.grid=shifted", "mode.shift=inf"), "mode.shift inf"),
        (("mode.target_only_steps=9",), "target_only_steps 9"),
        (("averaging=differential", "averaging.weight=inf"), "averaging.weight inf"),
        (("averaging=differential", "draws=2", "averaging.baseline_size=2"), "baseline_size"),
        (("stepz=4",), "'steps'"),
        (("hydra.run.dir=x",), "unknown key"),
        (("runtime=gpu",), "gpu_8gb"),
        (("--source-words", "cat"), ("'cat' is not in the prompt", "a, dog, runs")),
        (("--target-words", "fox, dog"), ("'dog' is not in the prompt", "a, fox, runs")),
        (("--user-mask", "none.png"), "none.png does not exist"),
    ],
)
def test_values_out_of_range(refused, edit, args, says):
    refused(edit, *args, says=says)


def test_prompts_that_are_not_there(refused, command, edit, clip_file):
    refused(edit, target="  ", says="--target")
    refused(command, "edit", clip_file, "--quiet", "--target", "a fox", says="--source")
    refused(command, "edit", clip_file, "--quiet", "--source", "a fox", says="--target")
    refused(edit, source="a \udcff dog", says="UTF-8")


def test_mistakes_are_found_before_a_download(refused, command, clip_file, monkeypatch):
    def download(*_):
        raise AssertionError("13.8 GB for nothing")

    monkeypatch.setattr("flowedit.backbones.families.download", download)
    common = ("edit", clip_file, "--quiet", "--target", "a fox")
    for args in [(), ("--source", "a dog", "--start", "99"), ("--source", "a dog", "--source-words", "cat")]:
        assert "AssertionError" not in refused(command, *common, *args)


def test_prompt_longer_than_the_model_reads(refused, edit):
    line = refused(edit, source="dog " * 300 + "zebra", says=("source:", "tokens", "226", "fall off"))
    assert line.endswith("dog zebra'")


def test_cuda_that_is_not_there(refused, edit, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    refused(edit, "runtime.device=cuda", says=("'cuda' is not here", "use cpu"))


def test_hub_that_cannot_be_reached(refused, command, clip_file):
    flags = ("--source", "a dog", "--target", "a fox", "--quiet", "--backbone", "cogvideox-5b")
    refused(command, "edit", clip_file, *flags, says=("5.6 billion", "no GPU", "runtime.device=cpu", "20 hours"))
    flags += ("runtime.device=cpu",)
    refused(command, "edit", clip_file, *flags, says=("CogVideoX-5b", "21.5 GB", "--backbone DIR"))


# Masks


def test_masks_that_do_not_fit(refused, edit, place):
    write_clip(place / "short.mp4", frames=3)
    cv2.imwrite(str(place / "black.png"), np.zeros((64, 96), np.uint8))
    (place / "text.png").write_text("not an image", encoding="utf-8")
    (place / "none").mkdir()
    refused(edit, "--user-mask", "short.mp4", says=("short.mp4 has 3 frames", "12", "5"))
    refused(edit, "--user-mask", "black.png", says="black")
    refused(edit, "--user-mask", "text.png", says="not an image")
    refused(edit, "--user-mask", "none", says="no images")


def test_mask_of_another_size_is_resized_with_a_notice(edit, place):
    cv2.imwrite(str(place / "half.png"), np.full((32, 48), 255, np.uint8))
    code, out, err = edit("--user-mask", "half.png", "--strength", 0)
    assert code == 0, err
    assert out == "out/edit.mp4\n"
    assert "note: mask half.png is 48x32 and was resized to the video's 96x64" in err
    assert (place / "out" / "mask.mp4").stat().st_size > 100


# Where results go


def test_out_that_cannot_be(refused, edit, place, clip_file):
    (place / "file").touch()
    refused(edit, out="file", says="'file' is not a folder")
    refused(edit, out="file/below", says="not a folder")
    (place / "dangling").symlink_to(place / "nowhere")
    refused(edit, out="dangling", says="not a folder")


def test_out_that_may_not_be_written(refused, edit, monkeypatch):
    def denied(**_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("flowedit.pipeline.outputs.tempfile.mkdtemp", denied)
    refused(edit, out="new/deep/out", says="'new/deep/out' cannot be written: Permission denied")


def test_out_never_replaces_what_is_read_or_is_not_ours(refused, edit, place, clip_file):
    shutil.copy(clip_file, place / "out" / "edit.mp4")
    refused(edit, video="out/edit.mp4", says="would replace 'out/edit.mp4'")
    write_clip(place / "out" / "mask.mp4")
    refused(edit, "--user-mask", "out/mask.mp4", says="would replace 'out/mask.mp4'")
    (place / "mine").mkdir()
    (place / "mine" / "edit.mp4").write_bytes(b"my own film")
    refused(edit, out="mine", says="no earlier run")


# Checkpoints


def test_folders_that_are_no_backbone(refused, edit, broken):
    index = broken / "model_index.json"
    index.write_text(json.dumps({"_class_name": "AllegroPipeline"}), encoding="utf-8")
    refused(edit, "--backbone", broken, says=("AllegroPipeline", "CogVideoXPipeline"))
    index.write_text("{", encoding="utf-8")
    refused(edit, "--backbone", broken, says="model_index.json")
    index.unlink()
    refused(edit, "--backbone", broken, says="lacks model_index.json")


@pytest.mark.parametrize("component", ["transformer", "vae", "text_encoder"])
def test_backbone_without_weights(refused, edit, broken, component):
    path = weights(broken, component)
    torch.save({"a": torch.zeros(1)}, path.with_suffix(".bin"))
    path.unlink()
    refused(edit, "--backbone", broken, says=("no safetensors weights", component))


@pytest.mark.parametrize("component", ["transformer", "vae", "text_encoder"])
def test_backbone_cut_short(refused, edit, broken, component):
    path = weights(broken, component)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    refused(edit, "--backbone", broken, "runtime.cache=null", says=(component, str(broken)))


def test_nan_in_the_network(refused, edit, broken):
    poison(broken, "transformer", "proj_out.weight")
    refused(edit, "--backbone", broken, "--strength", "1", says=("step 1", "t = 1", "NaN", "likely cause"))


def test_nan_in_the_encoder(refused, edit, broken):
    poison(broken, "vae", "encoder.conv_in")
    refused(edit, "--backbone", broken, says=("encoding", "NaN", "set runtime.dtype=float32", "download them again"))


def test_nan_in_the_decoder(refused, edit, broken):
    poison(broken, "vae", "decoder.conv_in")
    refused(edit, "--backbone", broken, says=("decoding", "NaN", "set runtime.dtype=float32", "download them again"))


def test_weights_that_lack_a_tensor(refused, edit, broken):
    path = weights(broken, "transformer")
    tensors = load_file(path)
    del tensors["proj_out.bias"]
    save_file(tensors, path, metadata={"format": "pt"})
    line = refused(edit, "--backbone", broken, says="proj_out.bias")
    assert "RuntimeError" not in line


def test_damaged_tokenizer(refused, edit, broken):
    for path in (broken / "tokenizer").iterdir():
        path.write_text("{", encoding="utf-8")
    refused(edit, "--backbone", broken, says="tokenizer")


# Faults while it runs


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        MemoryError(),
    ],
)
def test_out_of_memory_names_what_lowers_it(refused, edit, monkeypatch, error):
    def run_out(*_, **__):
        raise error

    monkeypatch.setattr("flowedit.backbones.adapter.Adapter.decode", run_out)
    says = ("out of memory", "decode", "--size", "--frames", "--runtime gpu_8gb", "runtime.dtype=bfloat16")
    refused(edit, "--strength", 0, out="new/deep/out", says=says)


def test_full_disk(refused, edit, monkeypatch):
    def full(self, frames):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("flowedit.media.writer.Writer.write", full)
    refused(edit, "--strength", 0, says="No space left on device")


def test_full_disk_at_the_last_file(refused, edit, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("flowedit.pipeline.outputs.write_yaml", full)
    refused(edit, "--strength", 0, out="new/out", says="No space left on device")


@pytest.mark.parametrize("kind", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_an_interruption_leaves_nothing_even_if_it_comes_twice(refused, edit, monkeypatch, kind):
    real, cleaned = shutil.rmtree, []

    def interrupt(*_, **__):
        signal.raise_signal(getattr(signal, kind))

    def clean(*args, **kwargs):
        interrupt()  # an impatient user, while the staging folder is removed
        cleaned.append(args[0])
        real(*args, **kwargs)

    before = signal.getsignal(getattr(signal, kind))
    if before is signal.SIG_IGN:
        pytest.skip("ignored here, as under nohup; it stays so")
    monkeypatch.setattr("flowedit.backbones.adapter.Adapter.decode", interrupt)
    monkeypatch.setattr("flowedit.pipeline.outputs.shutil.rmtree", clean)
    refused(edit, "--strength", 0, out="new/out", says="flowedit: interrupted; what is done is kept in")
    assert cleaned
    assert signal.getsignal(getattr(signal, kind)) is before


START = "import sys; from flowedit.cli.main import main; sys.exit(main(sys.argv[1:]))"


def test_a_kill_from_outside(tmp_path, clip_file, backbone_2b):
    """Two real processes, stopped while their steps run: SIGTERM cleans up, SIGKILL cannot, earlier results stay."""
    flags = ["--backbone", backbone_2b, "--source", "a dog", "--target", "a fox", "--out", "out", "--size", "48x32"]
    args = ["edit", clip_file, *flags, "--frames", 1, "--steps", 1000, "runtime.threads=1"]
    command = [sys.executable, "-c", START, *map(str, args)]
    earlier = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    waiting = {}
    for kind in (signal.SIGTERM, signal.SIGKILL):  # at once: most of the time goes to imports
        place = tmp_path / kind.name
        shutil.copytree(tmp_path / "out", place / "out")
        with (place / "said").open("w", encoding="utf-8") as said:
            env = {**os.environ, "OMP_NUM_THREADS": "1"}
            waiting[kind] = place, subprocess.Popen(command, cwd=place, stderr=said, env=env)
    processes = dict(waiting)
    try:
        while waiting:
            time.sleep(0.05)
            for kind, (place, process) in list(waiting.items()):
                if "edit\n" in (place / "said").read_text(encoding="utf-8") or process.poll() is not None:
                    assert list((place / "out").glob(".flowedit-*.partial"))
                    process.send_signal(kind)
                    del waiting[kind]
        codes = {kind: process.wait(60) for kind, (_, process) in processes.items()}
    finally:
        for _, process in processes.values():
            process.kill()
    assert codes == {signal.SIGTERM: 1, signal.SIGKILL: -signal.SIGKILL}
    for kind, (place, _) in processes.items():
        left = {path.name: path.read_bytes() for path in (place / "out").iterdir() if path.is_file()}
        assert left == earlier
        assert len(list((place / "out").glob(".flowedit-*.partial"))) == (kind == signal.SIGKILL)
        said = (place / "said").read_text(encoding="utf-8")
        assert len(list((place / "out").glob(".out.*.unfinished"))) == 1, said
    said = (tmp_path / "SIGTERM" / "said").read_text(encoding="utf-8")
    assert said.splitlines()[-1].startswith("flowedit: interrupted; what is done is kept in")
    assert "Traceback" not in said


def test_a_signal_that_is_ignored_stays_ignored(monkeypatch):
    """nohup ignores SIGHUP, and a run under it goes on."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with main._interruptible():
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    finally:
        signal.signal(signal.SIGHUP, before)


# An edit's YAML file


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty"),
        ("hello", "is no mapping"),
        ("- clip: a.mp4\n- clip: b.mp4\n", "holds 2 edits"),
        ("a: [1,", "is not YAML"),
        ("clip: !!python/object/apply:os.system ['touch pwned']", "is not YAML"),
        ("source: a dog", "names no clip"),
        ("clip: {a: 1}", "names no clip"),
        ("clip: ../clip.mp4", "'../clip.mp4' is not a path inside"),
        ("clip: /etc/passwd", "'/etc/passwd' is not a path inside"),
        ('clip: "a\\0b"', "is not a path inside"),
        ("clip: clip.mp4\nuser_mask: ../mask.png", "'../mask.png' is not a path inside"),
        ("clip: clip.mp4\nsurce: a dog", "did you mean 'source'"),
        ("clip: clip.mp4\nout: /tmp", "out is not for an edit's file"),
        ("clip: clip.mp4\nbackbone: x", "backbone is not for an edit's file"),
        ("clip: clip.mp4\nmask.blocks: [a]", "mask.blocks ['a'] is not a list of numbers"),
        ("clip: clip.mp4\nsource: [a, b]", "is not text"),
        ("clip: clip.mp4\nsource: no", "quote it"),
        ("clip: clip.mp4\nsteps: ${oc.env:HOME}", "steps '${oc.env:HOME}' is not a number"),
        ("clip: clip.mp4\nsteps: '2 mode=inversion'", "is not a number"),
        ("clip: clip.mp4\nsteps: [1, 2]", "is not a number"),
        ("clip: clip.mp4\nmode: {_target_: os.system}", "mode is a name, not a mapping"),
    ],
)
def test_yaml_mistakes(refused, command, place, clip_file, text, says):
    (place / "clips").mkdir()
    shutil.copy(clip_file, place / "clips" / "clip.mp4")
    shutil.copy(clip_file, place / "clip.mp4")
    (place / "clips" / "edit.yaml").write_text(text, encoding="utf-8")
    refused(command, "edit", "clips/edit.yaml", "--target", "a fox", "--quiet", says=("clips/edit.yaml", says))


def test_a_symbolic_link_does_not_climb_either(refused, command, place, clip_file):
    (place / "clips").mkdir()
    (place / "clips" / "clip.mp4").symlink_to(clip_file)
    (place / "clips" / "edit.yaml").write_text("clip: clip.mp4", encoding="utf-8")
    refused(command, "edit", "clips/edit.yaml", "--quiet", says="is not a path inside")


# Flags, overrides and files

PROMPTS = [
    "a fox, a dog; and a 'quoted' \"panda\"",
    "ratio: 1=2, steps=4",
    "[a, {b: c}] (d) \\ /",
    "${oc.env:HOME} $HOME {oc} %s %(x)s 100%",
    "two\nlines\tand a tab ",
    "一只狐狸在跑",
    "ثعلب يركض",
    "a 🦊 and a 👩‍🚀",
    "null",
    "true",
    "--steps=3",
    "-a dog",
    "!!python/object:x &a *a # no comment",
    "@file",
]


@pytest.mark.parametrize("prompt", PROMPTS)
def test_prompts_pass_to_the_letter(composed, place, clip_file, prompt):
    shutil.copy(clip_file, place / "clip.mp4")
    assert composed("clip.mp4", f"--target={prompt}").target == prompt
    assert composed("clip.mp4", f"target={prompt}").target == prompt
    if not prompt.startswith("-"):
        assert composed("clip.mp4", "--target", prompt).target == prompt
    (place / "edit.yaml").write_text(yaml.safe_dump({"clip": "clip.mp4", "target": prompt}), encoding="utf-8")
    settings = composed("edit.yaml", f"--source={prompt}")
    assert (settings.target, settings.source) == (prompt, prompt)


def test_a_clip_may_have_any_name(composed, place, clip_file):
    for name in ("a=b.mp4", "steps=3.mp4", "狐狸 🦊.mp4", "it's [1].mp4", "${x}.mp4", "-dash.mp4"):
        shutil.copy(clip_file, place / name)
        assert composed("--target=a", "--", name).clip == name
    assert composed("steps=3.mp4").clip == "steps=3.mp4"


def test_the_clip_may_be_given_by_its_old_name_which_is_noticed(edit, clip_file):
    _, _, err = edit("steps=0", video=f"video={clip_file}")
    assert err.count("note: video is called clip now: write clip=...") == 1
    _, _, err = edit("steps=0", video=f"clip={clip_file}")
    assert "is called" not in err


def test_a_flag_equals_its_override_and_the_last_one_wins(composed, clip_file):
    assert composed(clip_file, "--steps", 7) == composed(clip_file, "steps=7")
    assert composed(clip_file, "--mode", "inversion") == composed(clip_file, "mode=inversion")
    assert composed(clip_file, "--user-mask", "m.png") == composed(clip_file, "user_mask=m.png")
    assert composed(clip_file, "--steps", 7, "steps=8").steps == 8
    assert composed(clip_file, "steps=8", "--steps", 7).steps == 7
    assert composed(clip_file, "--steps", 7, "--steps", 9).steps == 9
    assert composed(clip_file, "--source", "steps=3", "--steps", 9).source == "steps=3"
    assert composed(f"clip={clip_file}").clip == str(clip_file)


def test_a_backbone_given_last_wins(composed, clip_file, place):
    (place / "weights").mkdir()
    by_name = composed(clip_file, "--backbone", "weights", "backbone=cogvideox-5b").backbone
    assert (by_name.name, by_name.path) == ("cogvideox-5b", None)
    for args in [("--backbone", "weights"), ("backbone=cogvideox-5b", "backbone.path=weights")]:
        by_path = composed(clip_file, *args).backbone
        assert (by_path.repository, by_path.path) == (None, "weights")


def test_flags_stand_over_the_yaml_file(composed, place, clip_file):
    shutil.copy(clip_file, place / "clip.mp4")
    row = [{"clip": "clip.mp4", "source": "s", "target": "t", "mode": "inversion", "steps": 9, "redistribute": True}]
    (place / "edit.yaml").write_text(yaml.safe_dump(row), encoding="utf-8")
    plain = composed("edit.yaml")
    assert (plain.clip, plain.source, plain.mode.name, plain.steps) == ("clip.mp4", "s", "inversion", 9)
    changed = composed("edit.yaml", "--steps", 3, "mode=random_noise", "target=u")
    assert (changed.source, changed.target, changed.mode.name, changed.steps) == ("s", "u", "random_noise", 3)


def test_progress_is_said_and_quiet_is_quiet(command, clip_file, backbone_2b):
    flags = ("--backbone", backbone_2b, "--source", "a", "--target", "b", "--out", "out", "--strength", 0)
    code, _, loud = command("edit", clip_file, *flags, "--size", "48x32", "--frames", 1)
    assert code == 0, loud
    said = [line for line in loud.splitlines() if not line.startswith("note: ")]
    assert said[0] == "load"
    assert said[1].startswith("random-2b on the CPU")
    assert "48x32, 1 frame" in said[1]
    assert said[2:6] == ["encode", "embed", "edit", "decode, write"]
    assert said[6] == "in out:"


def test_the_written_clip_is_a_video_and_its_path_is_printed(edit, place):
    code, out, err = edit("--strength", 0, out="new/deep/out")
    assert (code, out) == (0, "new/deep/out/edit.mp4\n"), err
    with av.open(str(place / out.strip())) as container:
        assert len(list(container.decode(video=0))) == 5


@pytest.mark.parametrize(("encoding", "says"), [("utf-8", b"\xff.mp4"), ("ascii", b"\\udcff.mp4")])
def test_a_path_that_is_no_text_is_printed(encoding, says):
    code = "from flowedit.cli import main; main._speak_any_name(); print('\\udcff.mp4')"
    given = {**os.environ, "PYTHONIOENCODING": encoding}
    assert subprocess.check_output([sys.executable, "-c", code], env=given).strip() == says
