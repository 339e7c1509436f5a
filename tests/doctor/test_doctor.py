"""What fits, told before a download: the machine, every model, a clip on one; bad input in one line each."""

import ctypes
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from releases import write_words

from flowedit.backbones import presets, shapes
from flowedit.backbones.released import RELEASES, save_words
from flowedit.config import compose
from flowedit.doctor import examine, here, models, report
from flowedit.pipeline import plan


@pytest.fixture(autouse=True)
def unreachable(monkeypatch):
    """No test knocks at the hub."""
    monkeypatch.setattr(here, "_asked", lambda address: lambda: "not asked")


@pytest.fixture
def doctor(command):
    """`flowedit doctor`; returns what it prints, or its one line of complaint."""

    def run(*args, code=0):
        got, out, err = command("doctor", *args)
        assert got == code, err
        assert len(err.splitlines()) == (code != 0), err
        return out if code == 0 else err

    return run


def test_all_of_it_without_torch(clip_file):
    code = (
        "import sys; from flowedit.doctor import here; here._asked = lambda address: lambda: '';"
        "from flowedit.cli import main; main.main(['doctor']);"
        "main.main(['doctor', '--backbone', 'cogvideox-5b', '--memory', '12', '--frames', '20']);"
        f"main.main(['doctor', {str(clip_file)!r}]);"
        f"main.main(['doctor', {str(clip_file)!r}, '--mode', 'flowdirector_v2', '--backbone', 'pocket']);"
        "print([name for name in ('torch', 'diffusers', 'transformers') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert "verdict    fits with" in done.stdout
    assert done.stdout.count("evaluations") > 1


def test_the_machine_and_every_backbone(doctor):
    out = doctor()
    for label in ("device", "memory", "disk", "versions", "video", "hub", "extras"):
        assert f"\n  {label:<11}" in out
    for name in (*RELEASES, "pocket"):
        assert name in out
    assert "reckoned" in out


@pytest.mark.parametrize("name", ["pocket", *RELEASES])
def test_the_usual_edit_is_read_as_hydra_composes_it(name):
    assert compose.settings(models.usual(name)) == compose.compose({"backbone": name})


@pytest.mark.parametrize("name", RELEASES)
def test_a_clip_lies_on_a_model_as_an_edit_lays_it(name, tmp_path, clip_file):
    """The shapes that are told from the files are those of the opened checkpoint."""
    from flowedit.backbones import families
    from flowedit.media.probe import probe
    from flowedit.pipeline.source import open_clip

    opened = families.load(write_words(tmp_path, name), name=name, device="cpu")
    size = {"size": "512x320", "window": 9, "frame_by_frame": opened.spec.still}
    native = opened.geometry(opened.spec.trained_frames, plan.native_size(opened.spec))
    settings = compose.compose({"backbone": name, "clip": str(clip_file), **size})
    made = plan.make_plan(plan.brief(settings), opened, open_clip(settings), ())
    flags = {"backbone": name, "size": "512x320", "window": "9"}
    (model,) = models.models(flags, [], Path("nowhere"))
    laid = models.work(model, probe(clip_file))
    windows = tuple(window for shot in made.shots for window in shot.windows)
    assert (laid.geometry, laid.windows) == (made.shots[0].geometry, windows)
    untold = ("notices", "shift", "shift_growth")
    told = {key: value for key, value in vars(model.spec).items() if key not in untold}
    assert told == {key: value for key, value in vars(opened.spec).items() if key in told}
    shift = opened.spec.shift_at(plan.native_size(opened.spec), native.latent[1])
    times = opened.knots.tolist(), shift, opened.spec.strength_shift
    for place in (None, str(opened.checkpoint.path)):  # not here yet, and a folder
        knots, *shifts = families.times_of(replace(model.settings.backbone, path=place))
        assert (knots.tolist(), *shifts) == times
    edit = examine.edit_of(model.settings)
    assert len(laid.windows) * edit.cost(plan.foreseen(edit)) == made.evaluations


def test_a_clip_on_one_model(doctor, clip_file):
    out = doctor(clip_file, "--backbone", "cogvideox-5b", "--memory", "12")
    for part in ("720x480", "12 frames", "21.5 GB to download", "fits with gpu_12gb", "160 network evaluations;"):
        assert part in out
    for phase in report.PHASES:
        assert phase in out
    fewer = doctor(clip_file, "--backbone", "cogvideox-5b", "--steps", "10", "--frames", "5")
    assert "5 frames" in fewer
    assert "32 network evaluations;" in fewer


def test_a_clip_on_all_models_is_a_line_each(doctor, clip_file, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    out = doctor(clip_file, "--memory", "12")
    head, *rows = out.partition(f"the edit of {clip_file.name}, ")[2].splitlines()[1 : 2 + len(RELEASES) + 1]
    assert head.split() == ["backbone", "verdict", "size", "evaluations", "to", "download"]
    assert {row.split()[0] for row in rows} == set(models.named())
    kinds = [["fits", "drawn", "does"].index(row.split()[1]) for row in rows]
    assert kinds == sorted(kinds)  # what fits stands first, and before pocket
    by_name = {row.split()[0]: " ".join(row.split()[1:]) for row in rows}
    assert by_name["pocket"] == "drawn clips only 160x112 60 nothing"
    assert by_name["cogvideox-5b"] == "fits with gpu_12gb 720x480 160 21.5 GB"
    assert "\npocket: only its own drawn world, no real clips\n" in out
    for phase in ("encode", "must be free", "windows; "):
        assert phase not in out
    told = json.loads(doctor(clip_file, "--memory", "12", "--json"))["backbones"]["cogvideox-5b"]
    assert (told["evaluations"], told["size"], told["preset"]) == (160, [720, 480], "gpu_12gb")


def test_the_pocket_model_is_said_to_know_its_own_world(doctor):
    assert "nothing to download; only its own drawn world, no real clips" in " ".join(doctor().split())
    assert "\n  knows      only its own drawn world" in doctor("--backbone", "pocket")
    assert "knows" not in doctor("--backbone", "cogvideox-2b")


@pytest.mark.parametrize(
    ("gib", "word"), [(80, "fits:"), (20, "fits:"), (14, "fits with gpu_16gb"), (6, "fits with"), (4, "does not fit:")]
)
def test_the_word_for_a_card(doctor, gib, word):
    out = doctor("--backbone", "cogvideox-5b", "--memory", gib)
    assert word in out.partition("verdict")[2]
    assert json.loads(doctor("--backbone", "cogvideox-5b", "--memory", gib, "--json"))["backbones"]["cogvideox-5b"][
        "fits"
    ] == (not word.startswith("does"))


def test_more_draws_rows_and_no_tiles_need_more(doctor):
    def told(*args):
        out = json.loads(doctor("--backbone", "cogvideox-2b", "--memory", "80", "--json", *args))
        return out["backbones"]["cogvideox-2b"]["memory_gib"]["gpu_24gb"]

    usual = told()
    assert told("--draws", "3")["edit"] > usual["edit"] + 2
    assert told("runtime.tiling=false")["decode"] > 3 * usual["decode"]
    assert told("runtime.text_weights=int8")["text"] < 0.6 * usual["text"]
    assert told("--size", "360x240")["edit"] < usual["edit"]
    assert told("runtime.weights=fp8")["edit"] < usual["edit"] - 1
    plain = told("--source-guidance-scale", "1", "--target-guidance-scale", "1")
    assert plain["edit"] < usual["edit"]


def test_what_the_brief_alone_knows_is_asked_of_it(doctor):
    """A region pass packs the target's rows into the source's; an edit strength has scales of its own."""

    def edit(*args):
        told = ("--backbone", "cogvideox-2b", "--memory", "80", "--json", *args, "target=a panda")
        return json.loads(doctor(*told))["backbones"]["cogvideox-2b"]["memory_gib"]["gpu_24gb"]["edit"]

    words = ("source_words=fox", "target_words=panda", "source=a fox")
    assert edit(*words, "mode.region=true") > 1.3 * edit(*words)
    one = ("--source-guidance-scale", "1", "--target-guidance-scale", "1")
    assert edit(*words, *one, "edit_strength=2") == edit(*words)
    assert edit(*words, *one) < edit(*words)


def test_an_edit_without_words_is_reckoned_with_one_object(doctor):
    def edit(*args):
        told = json.loads(doctor("--backbone", "cogvideox-2b", "--memory", "80", "--json", *args))
        return told["backbones"]["cogvideox-2b"]["memory_gib"]["gpu_24gb"]["edit"]

    words = ("source=a fox", "target=a panda", "source_words=fox", "target_words=panda")
    assert edit() == edit(*words) > edit("--mask", "none")
    assert edit("mode.region=true") == edit(*words, "mode.region=true")


@pytest.mark.parametrize(
    "options", [{"mode": "rf_solver_edit"}, {"mode": "adaedit", "window": 9}, {"attention": "structure", "window": 9}]
)
def test_what_attention_keeps_on_the_host_is_what_an_edit_reckons(doctor, monkeypatch, backbone_2b, clip_file, options):
    """What `check_waiting` compares with the memory that is free, by the opened checkpoint and the plan of the edit."""
    from flowedit.backbones import families, memory
    from flowedit.pipeline.source import open_clip

    whole = {"backbone": str(backbone_2b), "size": "64x64", "runtime.device": "cpu", **options}
    words = {"source_words": "object", "target_words": "object", "source": "an object", "target": "an object"}
    opened, settings = families.load(backbone_2b, device="cpu"), compose.compose({**whole, "clip": str(clip_file)})
    made = plan.brief(replace(settings, **words))
    laid = plan.make_plan(made, opened, open_clip(settings), ())
    (shot,), (channels, _, *sides) = laid.shots, laid.geometry.latent
    latent = channels, max(end - start for start, end in shot.windows), *sides
    load = plan.load_of(made, latent, len(shot.windows))
    needed = presets.host_need(memory.of_backbone(opened), load, settings.runtime, True)
    args = (clip_file, *(f"{key}={value}" for key, value in options.items()), "size=64x64", "--backbone", backbone_2b)
    found = json.loads(doctor(*args, "runtime.device=cpu", "--json"))["backbones"][Path(backbone_2b).name]
    assert found["windows"] == len(shot.windows)
    assert found["attention_host_gib"] == pytest.approx(needed, rel=1e-9)
    assert needed > 0
    monkeypatch.setattr(here.memory, "of_host", lambda: (needed / 2, 1.0))
    assert "will be refused" in " ".join(doctor(*args, "runtime.device=cpu").split())


def test_an_edit_that_keeps_no_attention_on_the_host_says_nothing_of_it(doctor, clip_file):
    for args in ((), ("--attention", "structure"), ("--attention", "anchor")):
        out = doctor(clip_file, "--backbone", "cogvideox-2b", "--memory", "24", *args)
        assert "attention" not in out
    out = " ".join(doctor(clip_file, "--mode", "rf_solver_edit", "--memory", "24").split())
    assert out.count("of the source's attention in the host's memory") == 1 + len(RELEASES)
    assert "refused" not in out  # it is another machine that is asked for


def test_a_chosen_runtime_is_the_only_one(doctor):
    out = json.loads(doctor("--backbone", "cogvideox-5b", "--runtime", "gpu_8gb", "--memory", "8", "--json"))
    told = out["backbones"]["cogvideox-5b"]
    assert list(told["memory_gib"]) == ["gpu_8gb"]
    assert told["preset"] == "gpu_8gb"


def test_json_says_what_the_lines_say(doctor, clip_file):
    told = json.loads(doctor(clip_file, "--backbone", "wan2.1-t2v-1.3b", "--memory", "24", "--json"))
    found = told["backbones"]["wan2.1-t2v-1.3b"]
    assert told["free_gib"] == 24
    assert told["clip"]["frames"] == 12
    assert (found["size"], found["windows"], found["evaluations"]) == ([768, 512], 1, 160)  # of Wan's area
    assert found["downloaded"] is False
    assert found["reckoned"] is True
    assert "machine" not in told
    assert json.loads(doctor("--json"))["machine"]["versions"]["python"]


def test_a_folder_is_looked_at(doctor, backbone_2b):
    out = doctor("--backbone", backbone_2b)
    assert "nothing to download" in out
    assert "fits the CPU" in out


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["nothing.mp4"], "does not exist"),
        ([__file__], "not a video"),
        (["--backbone", "cogvideox-7b"], "did you mean"),
        (["--backbone", "tests"], "no checkpoint"),
        (["--memory", "much"], "not a number of GiB"),
        (["--memory", "-3"], "not a number of GiB"),
        (["--frames", "many"], "frames"),
        (["--frames", "0"], "frames"),
        (["--size", "big"], "WIDTHxHEIGHT"),
        (["--backbone", "cogvideox1.5-5b", "--size", "4000x400"], "has a side over"),
        (["--sized", "1"], "did you mean --size"),
        (["a.mp4", "b.mp4"], "one clip at a time"),
        (["--runtime", "gpu_9gb"], "unknown runtime"),
        (["mask.treshold=otsu"], "unknown key"),
    ],
)
def test_bad_input_is_one_line(doctor, args, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tests").mkdir()
    assert says in doctor(*args, code=1)


def test_an_unknown_repository_is_said_to_be_unknown(doctor):
    out = doctor("--backbone", "someone/video-model")
    assert "not known" in out
    assert "download of unknown size" in out


def test_a_folder_whose_words_are_not_whole_is_one_line(doctor, tmp_path):
    save_words(tmp_path, RELEASES["cogvideox-2b"])
    assert "lacks" in doctor("--backbone", tmp_path, code=1)


@pytest.mark.parametrize("width", [80, 120])
def test_lines_fit_the_terminal(width, clip_file):
    found = examine.examine(None, {}, [], None, machine=True)
    told = list(examine.lines(found, width))
    assert max(map(len, told)) <= width
    laid = examine.examine(str(clip_file), {}, [], None, machine=True)
    assert max(map(len, examine.lines(laid, width))) <= width
    narrow = list(report.summary(laid.found, laid.video, 1.0, 66))
    assert max(map(len, narrow)) <= 66
    assert "evaluations" in narrow[1]
    assert "to download" not in narrow[1]
    one = examine.examine(None, {"backbone": "cogvideox1.5-5b"}, [], 12.0, machine=False)
    assert max(map(len, examine.lines(one, width))) <= width


class Driver:
    """NVIDIA's library, with cards that are not there."""

    cards = (("NVIDIA A", 8, 10), ("NVIDIA B", 20, 24))
    uuids = (b"GPU-0aaa-1", b"GPU-0bbb-2")

    def nvmlInit_v2(self):
        return 0

    def nvmlShutdown(self):
        return 0

    def nvmlSystemGetDriverVersion(self, text, size):
        text.value = b"580.1"
        return 0

    def nvmlDeviceGetCount_v2(self, count):
        ctypes.cast(count, ctypes.POINTER(ctypes.c_uint))[0] = len(self.cards)
        return 0

    def nvmlDeviceGetHandleByIndex_v2(self, index, card):
        ctypes.cast(card, ctypes.POINTER(ctypes.c_void_p))[0] = index + 1
        return 0

    def nvmlDeviceGetMemoryInfo(self, card, memory):
        _, free, total = self.cards[card.value - 1]
        told = ctypes.cast(memory, ctypes.POINTER(here._Memory))[0]
        told.free, told.total = free * 2**30, total * 2**30
        return 0

    def nvmlDeviceGetName(self, card, text, size):
        text.value = self.cards[card.value - 1][0].encode()
        return 0

    def nvmlDeviceGetUUID(self, card, text, size):
        text.value = self.uuids[card.value - 1]
        return 0


@pytest.fixture
def cards(monkeypatch):
    """Two cards, and a PyTorch that could use them."""
    monkeypatch.setattr(here, "_library", Driver)
    monkeypatch.setattr(here, "_version", lambda package: "2.14.1" if package == "torch" else None)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.mark.parametrize(
    ("visible", "device", "name", "told"),
    [
        (None, "auto", "NVIDIA A", True),
        ("1", "auto", "NVIDIA B", True),
        ("1,0", "auto", "NVIDIA B", True),
        ("", "auto", None, True),
        ("-1", "auto", None, True),
        ("7", "auto", None, True),
        ("GPU-0bbb-2", "auto", "NVIDIA B", True),
        ("GPU-0b", "auto", "NVIDIA B", True),  # as CUDA lets one abbreviate
        ("GPU-0", "auto", None, False),  # of two
        ("GPU-7", "auto", None, True),
        ("MIG-1", "auto", None, False),
        (None, "cuda:1", "NVIDIA B", True),
        ("1,0", "cuda:1", "NVIDIA A", True),
        ("1", "cuda:1", None, True),
        (None, "cpu", None, True),
    ],
)
def test_a_card_is_told_by_its_driver(cards, monkeypatch, visible, device, name, told):
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    found, why, known = here._gpu(device)
    assert (found and found.name, known) == (name, told)
    assert bool(why) == (name is None)


def test_a_card_that_is_not_known_gets_no_word(cards, doctor, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-1")
    out = " ".join(doctor().split())
    assert "a card that is not known by its number or UUID" in out
    assert "not known: this system does not tell how much memory is free" in out
    assert "fits" not in out


def test_a_runtime_on_the_cpu_is_judged_by_the_cpu(cards, doctor, monkeypatch):
    monkeypatch.setattr(here.memory, "of_host", lambda: (100.0, 128.0))
    out = doctor("--runtime", "cpu", "--backbone", "cogvideox-2b")
    assert "fits the CPU: needs" in out
    assert "of 100.0 GiB" in out
    out = doctor("--runtime", "cpu", "--backbone", "cogvideox-2b", "--memory", "12")
    assert "on the CPU it needs" in out
    out = doctor("runtime.device=cuda:1", "--backbone", "cogvideox-2b")
    assert "of 20.0 GiB" in out
    out = doctor("runtime.device=cuda:5", "--backbone", "cogvideox-2b")
    assert "verdict    not known" in out


def test_a_card_is_what_is_judged_by(cards, doctor):
    out = doctor()
    assert "NVIDIA A, 8.0 of 10.0 GiB free, driver 580.1" in out
    assert "fits with gpu_12gb: needs 5.4 of 8.0 GiB" in out


@pytest.mark.parametrize(
    ("torch", "library", "says"),
    [("2.14.1+cpu", Driver, "built without CUDA"), ("2.14.1", None, "no driver"), ("2.14.1", "none", "finds no card")],
)
def test_no_card_is_told_with_its_reason(cards, monkeypatch, torch, library, says):
    def absent():
        raise OSError

    empty = type("Empty", (Driver,), {"cards": ()})
    monkeypatch.setattr(here, "_version", lambda package: torch)
    monkeypatch.setattr(here, "_library", {None: absent, "none": empty}.get(library, library))
    found, why, _ = here._gpu()
    assert found is None
    assert says in why


def test_a_silent_hub_is_waited_for_half_a_second(monkeypatch):
    monkeypatch.undo()
    monkeypatch.delenv("HTTPS_PROXY", raising=False)
    monkeypatch.delenv("https_proxy", raising=False)
    called = []

    def connect(place, patience):
        called.append((place, patience))
        raise TimeoutError

    monkeypatch.setattr(here.socket, "create_connection", connect)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    assert here._asked("https://example.org")() == "not reachable: no answer in half a second"
    assert called == [(("example.org", 443), here.PATIENCE)]
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE" in here._asked("https://example.org")()


def test_too_little_disk_is_said():
    model = next(iter(models.models({"backbone": "cogvideox-5b"}, [], Path("nowhere"))))
    assert "too little" in report._room(model, 10.0)
    assert report._room(model, 30.0) == ""
    assert report._room(replace(model, folder=Path("here")), 1.0) == ""


def test_what_the_cache_of_the_hub_holds_is_found(tmp_path):
    from flowedit.backbones.released import save_released
    from flowedit.pretrained import layout

    place = tmp_path / "models--someone--small"
    save_released(place / "snapshots" / "abc", "cogvideox-2b", small=True)
    assert layout.cached(tmp_path, "someone/small") is None
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text("abc")
    assert layout.cached(tmp_path, "someone/small") == place / "snapshots" / "abc"
    (place / "snapshots" / "abc" / "vae" / "config.json").unlink()
    assert layout.cached(tmp_path, "someone/small") is None


def test_the_shape_is_refused_as_an_edit_refuses_it():
    drawn = models.memory.released("cogvideox-2b")
    with pytest.raises(ValueError, match="nothing to edit"):
        shapes.geometry_of(drawn, shapes.of_blueprint(drawn, {}), 0, (480, 720))


def test_a_system_that_tells_nothing_gets_no_word():
    assert presets.verdict([], None).text.startswith("not known")
