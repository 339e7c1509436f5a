"""Composing: from many threads, options of an editor as they are declared, backbones as people name them."""

import json
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace

import pytest
import torch

import flowedit
from flowedit.backbones.released import RELEASES
from flowedit.config import compose
from flowedit.declare import option
from flowedit.editors.spec import EDITORS, ModeOptions


@pytest.fixture
def switchy():
    """Threads take turns after each few instructions, so that what is not safe fails soon."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-4)
    yield
    sys.setswitchinterval(before)


def test_eight_threads_compose_at_once(switchy):
    start = threading.Barrier(8)

    def ask(number):
        start.wait()
        return [compose.compose({"seed": number, "mode": mode}) for mode in ("inversion", "inversion_free")]

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(ask, range(8)))
    for number, (first, second) in enumerate(found):
        assert (first.seed, first.mode.name) == (number, "inversion")
        assert (second.seed, second.mode.name) == (number, "inversion_free")
        assert first == compose.compose({"seed": number, "mode": "inversion"})


def test_a_mistake_in_one_thread_leaves_the_others_alone(switchy):
    def ask(number):
        try:
            return compose.compose({"steps": "[1," if number % 2 else "3"}).steps
        except flowedit.InputError as error:
            return str(error)

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(ask, range(16)))
    assert [each == 3 for each in found] == [number % 2 == 0 for number in range(16)]
    assert all("cannot be read" in each for each in found[1::2])


def test_two_editors_in_two_threads_edit_as_each_does_alone(backbone_2b, clip_file, tmp_path, switchy):
    common = {"source": "a dog runs", "target": "a fox runs", "source_words": "dog", "target_words": "fox"}
    common |= {"steps": 2, "size": "48x32", "frames": 5, "runtime.device": "cpu"}
    start = threading.Barrier(2)

    def one(seed, place, wait=True):
        if wait:
            start.wait()
        editor = flowedit.load(backbone_2b, **common)
        return editor.edit(clip_file, seed=seed, out=tmp_path / f"{place}-{seed}").latents

    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(lambda seed: one(seed, "together"), (1, 2)))
    for seed, latents in zip((1, 2), together, strict=True):
        assert torch.equal(latents, one(seed, "alone", wait=False))


@dataclass(frozen=True, kw_only=True)
class WordyOptions(ModeOptions):
    """Options of every form that a plug-in may declare."""

    label: str = option("a text", written="text", default="plain")
    names: tuple[str, ...] = option("texts", default=("a",))
    weights: tuple[float, ...] = option("numbers", default=(1.0,))


@pytest.fixture
def wordy():
    EDITORS.add("wordy", replace(EDITORS["random_noise"], options=WordyOptions))
    yield
    EDITORS.remove("wordy")


@pytest.mark.parametrize(
    ("overrides", "label", "names", "weights"),
    [
        (["mode.label=a, b: [c] ${d} 'e'"], "a, b: [c] ${d} 'e'", ("a",), (1.0,)),
        (["mode.label=4"], "4", ("a",), (1.0,)),
        (["mode.names=x,y z"], "plain", ("x", "y z"), (1.0,)),
        (["mode.names=x"], "plain", ("x",), (1.0,)),
        (["mode.weights=0.5,2"], "plain", ("a",), (0.5, 2.0)),
        (["mode.weights=[3]"], "plain", ("a",), (3.0,)),
        (["mode.weights=3"], "plain", ("a",), (3.0,)),
    ],
)
def test_an_editors_texts_and_lists_are_taken_as_declared(wordy, overrides, label, names, weights):
    mode = compose.compose({"mode": "wordy"}, overrides).mode
    assert (mode.label, mode.names, mode.weights) == (label, names, weights)


def test_lists_from_python_pass_whole(wordy):
    made = compose.compose({"mode": "wordy", "mode.names": ["a, b", "c]"], "mode.weights": (1, 2.5)}).mode
    assert (made.names, made.weights) == (("a, b", "c]"), (1.0, 2.5))
    assert compose.compose({"mask.blocks": [0.1, 0.2], "cuts": (3, 5)}).cuts == (3, 5)


def test_lists_of_our_own_groups_need_no_brackets():
    assert compose.compose({}, ["mask.blocks=0.1,0.2"]).mask.blocks == (0.1, 0.2)
    given = compose.compose({}, ["mode.grid=given", "mode.times=0.9,0.5,0"]).mode
    assert given.times == (0.9, 0.5, 0.0)


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("CogVideoX-2B", "cogvideox-2b"),
        ("Pocket", "pocket"),
        ("zai-org/CogVideoX-2b", "cogvideox-2b"),
        ("THUDM/CogVideoX-5b", "cogvideox-5b"),
        ("zai-org/CogVideoX1.5-5B", "cogvideox1.5-5b"),
        ("Wan-AI/Wan2.1-T2V-1.3B-Diffusers", "wan2.1-t2v-1.3b"),
        ("wan-ai/wan2.1-t2v-14b", "wan2.1-t2v-14b"),
    ],
)
def test_a_backbone_is_known_by_its_hub_id_and_in_any_case(given, name):
    made = compose.compose({"backbone": given})
    assert made.backbone == compose.compose({"backbone": name}).backbone
    assert made.mask == compose.compose({"backbone": name}).mask


def test_another_id_is_looked_for_on_the_hub_and_nothing_else_is(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tests").mkdir()
    other = compose.compose({"backbone": "someone/CogVideoX-tuned"}).backbone
    assert (other.name, other.repository, other.path) == ("someone/CogVideoX-tuned", "someone/CogVideoX-tuned", None)
    assert compose.compose({"backbone": "someone/CogVideoX-5b"}).backbone.repository == "someone/CogVideoX-5b"
    assert compose.compose({"backbone": "someone/x"}, ["backbone=cogvideox-2b"]).backbone.name == "cogvideox-2b"
    for bad in ("none", "a/b/c", "../no-such-folder", "./weights", "tests/nothing", "cogvideox-3b"):
        with pytest.raises(flowedit.InputError, match="unknown backbone"):
            compose.compose({"backbone": bad})


@pytest.mark.parametrize(
    ("key", "here"),
    [("device", "runtime.device"), ("prompt", "target"), ("num_inference_steps", "steps"), ("stepss", "steps")],
)
def test_names_of_other_programs_are_answered_with_ours(key, here):
    with pytest.raises(flowedit.InputError, match=f"unknown key '{key}'.*{here}"):
        compose.compose({key: "1"})


def test_every_name_from_elsewhere_leads_to_a_key_and_is_none_itself():
    from flowedit.config.names import ELSEWHERE

    known = compose._keys(())
    assert set(ELSEWHERE.values()) <= set(known)
    assert not set(ELSEWHERE) & set(known)


OVERRIDES = [
    (),
    ("mode=flowedit", "steps=3", "strength=0.5"),
    ("task=add", "seed=1e3", "frames=null", "composite=true", "fps=1/3", "cuts=[2,3]", "source=a b", "target="),
    ("backbone=folder", "backbone.path=/a/b c", "runtime.threads=2", "object_guidance_scales=[3,6.0]"),
    ("mask.blocks=[0.1,0.2]", "mask.threshold=otsu", 'source="a, b"', "target='it is'", "mode.times=[1,0.5,0]"),
    ("steps=1,2",), ("steps=${seed}",), ("mode.nothing=1",), ("steps.x=1",), ("mask={pool: 0.5}",), ("source=a, b",),
]  # fmt: skip


@pytest.mark.parametrize("overrides", OVERRIDES)
def test_a_kept_composition_takes_values_as_hydra_does(overrides):
    def made(by):
        try:
            return repr(by(overrides, "config"))
        except flowedit.InputError as error:
            return str(error)

    assert made(compose.composed) == made(compose._composed)
    assert made(compose.composed) == made(compose.composed)  # what was kept is not changed


def _drawn(name, folder, **own):
    """The files of a release that say what it is, without weights; `own` is laid over its network's configuration."""
    release = RELEASES[name]
    (folder / "model_index.json").parent.mkdir()
    (folder / "model_index.json").write_text(json.dumps({"_class_name": release.pipeline}), encoding="utf-8")
    for part, each in release.parts.items():
        (folder / part).mkdir()
        config = {**each.config, **(own if part in ("transformer", "unet") else {})}
        (folder / part / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


@pytest.mark.parametrize("mode", ["inversion_free", "inversion"])
@pytest.mark.parametrize("name", sorted(RELEASES))
def test_a_folder_is_set_as_the_release_that_it_is_like(name, mode, tmp_path):
    folder = _drawn(name, tmp_path / "weights")
    by_folder, by_name = (compose.compose({"backbone": each, "mode": mode}) for each in (str(folder), name))
    assert by_folder.backbone == replace(by_folder.backbone, name=None, repository=None, path=str(folder), license=None)
    assert asdict(replace(by_folder, backbone=by_name.backbone)) == asdict(by_name)
    pair = compose.compose({"backbone": name}, [f"backbone.path={folder}"]).backbone
    assert (pair.name, pair.repository, pair.path) == (name, None, str(folder))


def test_a_folder_that_no_release_is_like_takes_the_general_settings(tmp_path):
    free = _drawn("hunyuan-video", tmp_path / "free", guidance_embeds=False)
    for folder, scales in ((free, (3.5, 10.5)), (_drawn("hunyuan-video", tmp_path / "told"), (1.0, 6.0))):
        made = compose.compose({"backbone": str(folder)})
        assert (made.source_guidance_scale, made.target_guidance_scale) == scales
    assert compose.compose({"backbone": str(free), "target_guidance_scale": 4}).target_guidance_scale == 4


@pytest.mark.parametrize("name", sorted(RELEASES))
def test_a_release_is_known_by_its_repository(name):
    repository = compose.compose({"backbone": name}).backbone.repository
    assert compose.compose({"backbone": repository}).backbone.name == name
