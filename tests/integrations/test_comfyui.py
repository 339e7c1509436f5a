"""ComfyUI's nodes in a stand-in for ComfyUI: loaded as it loads them, run as it runs them, on the small checkpoint."""

import importlib
import json
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import av
import comfyui_graph
import numpy as np
import pytest
import torch

import flowedit
from flowedit.integrations.comfyui.choices import ChosenChange, ChosenClip, ChosenModel, further, masked

STUB = Path(comfyui_graph.__file__).with_name("comfyui_stub")
DOOR = Path(flowedit.__file__).parent / "integrations" / "comfyui"
WORKFLOWS = sorted((DOOR / "example_workflows").glob("*.json"))
FOX = Path(flowedit.__file__).parent.parent / "examples" / "fox.mp4"
ASKED = {"source": "a fox moves right over green grass", "instruction": "replace the fox with a panda"}
QUICK = "steps: 2"


@pytest.fixture(scope="module")
def api():
    """The stand-in's modules, where ComfyUI's would be."""
    sys.path.insert(0, str(STUB))
    yield importlib.import_module("comfy_api.latest")
    sys.path.remove(str(STUB))
    for name in [name for name in sys.modules if name.partition(".")[0] in ("comfy", "comfy_api", "folder_paths")]:
        del sys.modules[name]
    for name in ("nodes", "host"):
        sys.modules.pop(f"flowedit.integrations.comfyui.{name}", None)


@pytest.fixture(scope="module")
def pack(api):
    return comfyui_graph.load(DOOR)


@pytest.fixture
def saved():
    return []


@pytest.fixture
def nodes(pack, saved):
    return {**pack[0], **comfyui_graph.core_nodes(saved)}


def link(number, slot=0):
    return [str(number), slot]


def graph(video, **edit):
    """A prompt: a video, the change of the fox, and a short edit, which is saved."""
    quick = {
        "mode": "inversion_free", "quality": "auto", "strength": 0, "edit_strength": 0, "seed": 0, "preview": True,
        "options": QUICK,
    }  # fmt: skip
    words = {"target": "", "source_words": "", "target_words": "", "negative_prompt": "", "also_words": ""}
    model = {"backbone": "pocket", "checkpoint": "", "runtime": "auto"}
    subject = {"model": link(1), "clip": link(3), "change": link(4)}
    return {
        "1": {"class_type": "FloweditLoadBackbone", "inputs": model},
        "2": {"class_type": "Given", "inputs": {"name": video}},
        "3": {"class_type": "FloweditSourceClip", "inputs": {"video": link(2), "start": 0, "frames": 0, "fps": 0}},
        "4": {"class_type": "FloweditChange", "inputs": {**ASKED, **words}},
        "5": {"class_type": "FloweditEdit", "inputs": {**subject, **quick, **edit}},
        "6": {
            "class_type": "SaveVideo",
            "inputs": {"video": link(5), "filename_prefix": "edit", "format": "auto", "codec": "auto"},
        },
    }


def giving(api, kinds, **values):
    """Nodes that give these values as they are, the first as `Given`."""
    made = {}
    for (name, kind), value in zip(kinds.items(), values.values(), strict=True):

        class Giver(api.io.ComfyNode):
            VALUE, KIND, NAME = value, kind, name

            @classmethod
            def define_schema(cls):
                given = api.io.String.Input("name", default="")
                return api.io.Schema(cls.NAME, inputs=[given], outputs=[getattr(api.io, cls.KIND).Output()])

            @classmethod
            def execute(cls, name):
                return api.io.NodeOutput(cls.VALUE)

        made[name] = Giver
    return made


def test_nothing_of_comfyui_or_torch_is_imported_before_it_asks():
    code = """
import sys, flowedit, flowedit.integrations.comfyui as door
print([name for name in ("comfy_api", "torch", "hydra", "folder_paths") if name in sys.modules], sorted(door.__all__))
try:
    door.NODE_CLASS_MAPPINGS
except ModuleNotFoundError as error:
    print(error.name)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    names = ["NODE_CLASS_MAPPINGS", "NODE_DISPLAY_NAME_MAPPINGS", "comfy_entrypoint"]
    first, second = done.stdout.splitlines()
    assert first == f"[] {names}"
    assert second == "folder_paths" or second.startswith("comfy")


def test_both_ways_of_asking_give_the_same_nodes(api, pack):
    nodes = importlib.import_module("flowedit.integrations.comfyui.nodes")
    assert comfyui_graph.extension(nodes) == pack
    mapping, names = pack
    assert set(mapping) == {
        "FloweditLoadBackbone", "FloweditExampleClip", "FloweditSourceClip", "FloweditChange", "FloweditLookAtMask",
        "FloweditWordsToMask", "FloweditEdit", "FloweditCompare",
    }  # fmt: skip
    assert all(names[name].endswith("(flowedit)") for name in mapping)
    for node in mapping.values():
        schema = node.GET_SCHEMA()
        assert schema.description
        assert schema.category == "flowedit"
        json.dumps(node.INPUT_TYPES())  # as the page asks for it
        assert all(each.options.get("tooltip") for each in schema.inputs if each.widget and each.id != "name")


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_an_example_workflow_loads_and_runs(api, nodes, saved, path):
    assert path.with_suffix(".jpg").read_bytes()[:3] == b"\xff\xd8\xff"
    prompt = comfyui_graph.prompt_of(json.loads(path.read_text()), nodes)
    for node in prompt.values():
        if "options" in node["inputs"]:
            node["inputs"]["options"] = QUICK + ("\nmetrics: [psnr]" if node["class_type"] == "FloweditCompare" else "")
        if "frames" in node["inputs"]:
            node["inputs"]["frames"] = 5
    comfyui_graph.run(prompt, nodes)
    videos = [video.get_components() for name, video in saved if name != "text"]
    assert videos
    assert all(len(each.images) == 5 and each.frame_rate == 8 for each in videos)
    if path.stem == "flowedit_compare":
        (table,) = [text for name, text in saved if name == "text"]
        assert "inversion_free" in table
        assert "PSNR" in table
        assert videos[0].images.shape[1:3] == (2 * (256 + 21), 2 * 256)  # the source and three edits, labelled
    else:
        source = api.InputImpl.VideoFromFile(str(FOX)).get_components().images[:5]
        assert (videos[0].images - source).abs().mean() > 0.01


def test_there_are_workflows_and_each_has_its_picture():
    assert [path.stem for path in WORKFLOWS] == ["flowedit_compare", "flowedit_mask", "flowedit_replace"]


def test_the_edit_is_flowedits_own_and_shows_its_progress(api, nodes, tmp_path):
    api.TOLD.clear()
    nodes |= giving(api, {"Given": "Video"}, given=api.InputImpl.VideoFromFile(str(FOX)))
    done = comfyui_graph.run(graph("fox", options="steps: 4"), nodes)
    video, mask, compare, notices = done["5"].args
    heard = []
    alone = flowedit.edit(FOX, **ASKED, steps=4, seed=0, out=tmp_path / "alone", callback=heard.append)
    assert Path(video.get_stream_source()).read_bytes() == alone.video.read_bytes()
    assert notices == "\n".join(alone.notices)
    assert mask.shape == (9, 256, 256)
    assert 0 < mask.mean() < 1
    assert compare.get_dimensions()[0] == 2 * 256
    ours = [told for told in api.TOLD if told[0] == "5"]
    pictures = [picture for *_, picture in ours if picture is not None]
    assert len(pictures) == len(heard) > 1
    assert pictures[0].size == (128, 128)
    assert np.abs(np.asarray(pictures[0]).astype(int) - np.asarray(pictures[1])).mean() > 1
    assert all(0 <= value <= most for _, value, most, _ in ours)
    assert any(value == most for _, value, most, _ in ours)
    unseen = comfyui_graph.run(graph("fox", preview=False, options="steps: 4"), nodes)
    assert len([told for told in api.TOLD if told[3] is not None]) == len(heard)
    assert Path(unseen["5"].args[0].get_stream_source()).read_bytes() == alone.video.read_bytes()


def test_a_mask_says_where_and_comes_back(api, nodes):
    with torch.inference_mode():  # as every tensor that comes from another node
        half = torch.zeros(1, 64, 64)
        half[..., 32:] = 1
    video = api.InputImpl.VideoFromFile(str(FOX))
    nodes |= giving(api, {"Given": "Video", "Drawn": "Mask"}, given=video, drawn=half)
    prompt = graph("fox", mask=link(7), options=f"{QUICK}\nmask.preserve: true")
    prompt["7"] = {"class_type": "Drawn", "inputs": {"name": ""}}
    video, mask, *_ = comfyui_graph.run(prompt, nodes)["5"].args
    assert mask[..., :100].max() < 0.1
    assert mask[..., 200:].min() > 0.9
    source = api.InputImpl.VideoFromFile(str(FOX)).get_components().images
    change = (video.get_components().images - source).abs().mean((0, 1, 3))
    assert change[200:].mean() > 5 * change[:80].mean()


def test_sound_comes_out_as_it_went_in_from_a_file_from_a_stretch_and_from_frames(api, nodes, clip_file):
    whole = api.InputImpl.VideoFromFile(str(clip_file))
    parts = whole.get_components()
    assert parts.audio is not None
    for video in (whole, whole.as_trimmed(0.2, 0.5), api.InputImpl.VideoFromComponents(parts)):
        wanted = video.get_components()
        found = comfyui_graph.run(graph("x"), nodes | giving(api, {"Given": "Video"}, given=video))["5"].args[0]
        got = found.get_components()
        assert got.images.shape == wanted.images.shape
        assert got.frame_rate == wanted.frame_rate
        rate = wanted.audio["sample_rate"]
        assert got.audio["sample_rate"] == rate
        one, other = (each.audio["waveform"].mean((0, 1)) for each in (wanted, got))
        length = min(len(one), len(other)) - rate // 20
        assert abs(len(one) - len(other)) < rate // 10
        assert loudest(one[:length], rate) == pytest.approx(loudest(other[:length], rate), abs=15)
    assert packets(clip_file) == packets(host().file_of(whole))  # the file itself, not a copy of its frames


def host():
    return importlib.import_module("flowedit.integrations.comfyui.host")


def loudest(wave, rate):
    """The frequency in Hz of the loudest tone."""
    return float(torch.fft.rfft(wave).abs()[1:].argmax() + 1) * rate / len(wave)


def packets(path):
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.size]


def test_the_stop_button_ends_the_edit_as_interrupted_and_leaves_nothing(api, nodes, monkeypatch):
    management = importlib.import_module("comfy.model_management")
    folders = importlib.import_module("folder_paths")
    place = Path(folders.get_temp_directory()) / "flowedit"
    before = set(place.glob("edit-*"))
    nodes |= giving(api, {"Given": "Video"}, given=api.InputImpl.VideoFromFile(str(FOX)))
    steps = []

    class Pressed(api.ComfyAPISync):
        def __init__(self):
            super().__init__()
            tell = self.execution.set_progress

            def press(**told):
                tell(**told)
                if told["preview_image"] is not None:
                    steps.append(told)
                    management.interrupt_current_processing()

            self.execution.set_progress = press

    monkeypatch.setattr(host(), "ComfyAPISync", Pressed)
    with pytest.raises(management.InterruptProcessingException):
        comfyui_graph.run(graph("fox", options="steps: 6"), nodes)
    assert len(steps) == 1
    assert set(place.glob("edit-*")) == before
    assert not management.processing_interrupted()  # the next run is not stopped


def test_a_cancelled_edit_that_nobody_stopped_is_an_error(api):
    with pytest.raises(flowedit.Cancelled), host().hosted():
        raise flowedit.Cancelled("by another hand")


def test_what_is_half_done_when_the_button_is_pressed_is_interrupted(api):
    management = importlib.import_module("comfy.model_management")
    seen = []

    def half_done():
        with host().hosted() as stop:
            seen.append(stop.is_set())
            management.interrupt_current_processing()
            seen.append(stop.is_set())

    with pytest.raises(management.InterruptProcessingException):
        half_done()
    assert seen == [False, True]


def test_a_comparison_without_an_edit_says_why(api, pack, monkeypatch, tmp_path):
    row = SimpleNamespace(failure="its worker ran out of memory")
    results = SimpleNamespace(folder=tmp_path, rows=[SimpleNamespace(failure=None), row])
    monkeypatch.setattr(flowedit, "compare", lambda *_, **options: options["monitor"] and results)
    node = type("Clone", (pack[0]["FloweditCompare"],), {"hidden": SimpleNamespace(unique_id="5")})
    chosen = ChosenModel("pocket", "auto"), ChosenClip(FOX, 0, None, None), ChosenChange(*[""] * 6)
    with pytest.raises(flowedit.Error, match="no mode made an edit: its worker ran out of memory"):
        node.execute(*chosen, "inversion", "own", 0, "")


def test_flowedit_runs_outside_of_inference_mode(api):
    with torch.inference_mode():
        with host().hosted() as stop:
            assert not torch.is_inference_mode_enabled()
            assert isinstance(stop, threading.Event)
        assert torch.is_inference_mode_enabled()


def test_room_is_made_on_the_device_before_a_model_runs(api):
    management = importlib.import_module("comfy.model_management")
    management.FREED.clear()
    host().make_room()
    assert management.FREED == ["models", "cache"]


def test_without_a_mask_all_of_the_frame_is_its_mask(api):
    whole = host().mask_of(None, api.InputImpl.VideoFromFile(str(FOX)))
    assert whole.shape == (1, 256, 256)
    assert whole.min() == 1


def test_words_to_mask_narrows_and_widens_a_look_and_shows_it(api, pack):
    look = flowedit.load("pocket").look_at_mask(FOX, **ASKED)
    node = pack[0]["FloweditWordsToMask"]
    areas = []
    for quantile, grow in ((0.9, 0.0), (0.5, 0.0), (0.5, 0.3)):
        made = node.execute(look, quantile, grow)
        (mask,) = made.args
        assert mask.shape == (9, 256, 256)
        assert torch.equal(mask, torch.from_numpy(look.at(quantile, grow or None)).float() / 255)
        assert made.ui.pictures.shape == (9, 256, 256, 3)
        areas.append(float(mask.mean()))
    assert areas == sorted(areas)
    assert areas[0] < areas[1] < areas[2]
    (own,) = node.execute(look, 0, 0).args
    assert torch.equal(own, torch.from_numpy(look.at()).float() / 255)


def test_a_model_is_loaded_when_it_is_needed_and_once(monkeypatch):
    loaded = []
    monkeypatch.setattr(flowedit, "load", lambda **options: loaded.append(options) or object())
    model = ChosenModel("pocket", "auto")
    assert not loaded
    assert model.editor is model.editor
    assert loaded == [{"backbone": "pocket", "runtime": "auto"}]


def test_empty_texts_are_not_given():
    change = ChosenChange(" a fox ", "", "  ", "fox", "", "")
    assert change.options == {"source": "a fox", "source_words": "fox"}


def test_a_mask_is_held_within_its_range():
    assert masked(None) == {}
    given = masked(torch.tensor([[[-0.1, 0.5, 1.1]]], dtype=torch.float16))["user_mask"]
    assert given.dtype == np.float32
    assert given.tolist() == [[[0, 0.5, 1]]]


def test_options_are_lines_of_yaml():
    assert further("") == {}
    assert further("steps: 3\nmask.threshold: otsu\nmask.look_at: [0.2, 0.5]") == {
        "steps": 3,
        "mask.threshold": "otsu",
        "mask.look_at": [0.2, 0.5],
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("out: /tmp/elsewhere", "out: not for a workflow"),
        ("user_mask: /etc", "user_mask: not for a workflow"),
        ("runtime.device: cpu", "runtime.device: not for a workflow"),
        ("save: steps", "save: not for a workflow"),
        ("format: png", "png is a folder"),
        ("steps", "write one a line"),
        ("a: [", "no YAML"),
        ("a: !!python/object/apply:os.system ['true']", "no YAML"),
    ],
)
def test_options_that_name_places_or_code_are_refused(text, said):
    with pytest.raises(flowedit.InputError, match=said.replace("[", r"\[")) as found:
        further(text)
    assert "\n" not in str(found.value)


def test_the_nodes_are_put_into_a_comfyui_and_found_there(api, pack, tmp_path):
    (tmp_path / "custom_nodes").mkdir()
    for _ in range(2):  # an earlier one is replaced
        done = subprocess.run(
            [sys.executable, "-m", "flowedit.integrations.comfyui", str(tmp_path)],
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
    folder = tmp_path / "custom_nodes" / "flowedit_nodes"
    assert comfyui_graph.load(folder) == pack
    names = sorted(path.name for path in folder.glob("*example*/*.json"))  # where ComfyUI looks
    assert names == [path.name for path in WORKFLOWS]
    assert len(list(folder.glob("example_workflows/*.jpg"))) == len(names)


@pytest.mark.parametrize(("given", "said"), [([], "give one folder"), (["nowhere"], "has no custom_nodes")])
def test_a_folder_that_is_no_comfyui_is_refused_in_one_line(given, said, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "flowedit.integrations.comfyui", *given],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
