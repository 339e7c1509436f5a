"""The released checkpoints in the layout of the hub: what their own files say, and that such folders are read."""

import json
import runpy
import sys
from pathlib import Path

import pytest
import sentencepiece
import torch
from releases import write_words
from safetensors.torch import load_file, save_file

from flowedit.backbones import families
from flowedit.backbones.checkpoint import Checkpoint
from flowedit.backbones.released import RELEASES, network, save_released
from flowedit.messages import InputError

ROOT = Path(__file__).resolve().parents[2]

FACTS = {
    #                   native size,  any,   frames, fps, lead, patch, 16n+1, knots, smallest, dtype, parameters, text
    "cogvideox-2b": ((480, 720), False, 49, 8, 0, 1, 8, 1000, 0.0481, torch.float16, 1693.78, 226),
    "cogvideox-5b": ((480, 720), False, 49, 8, 0, 1, 8, 1000, 0.0283, torch.bfloat16, 5570.28, 226),
    "cogvideox1.5-5b": ((768, 1360), False, 81, 16, 1, 2, 16, 1000, 0.0283, torch.bfloat16, 5570.68, 226),
    "wan2.1-t2v-1.3b": ((480, 832), True, 81, 16, 0, 1, 4, 1000, 0.001, torch.bfloat16, 1419.0, 512),
    "wan2.1-t2v-14b": ((720, 1280), True, 81, 16, 0, 1, 4, 1000, 0.001, torch.bfloat16, 14288.49, 512),
    "wan2.2-t2v-a14b": ((720, 1280), True, 81, 16, 0, 1, 4, 1000, 0.001, torch.bfloat16, 14288.49, 512),
    "wan2.2-ti2v-5b": ((704, 1280), True, 121, 24, 0, 1, 4, 1000, 0.001, torch.bfloat16, 4999.79, 512),
    "ltx-video": ((512, 704), True, 161, 25, 0, 1, 8, 1000, 0.001, torch.bfloat16, 1923.39, 128),
    "mochi-1": ((480, 848), True, 163, 30, 0, 1, 6, 1000, 0.001, torch.bfloat16, 10027.68, 256),
    "hunyuan-video": ((720, 1280), True, 129, 24, 0, 1, 4, 1000, 0.001, torch.bfloat16, 12821.01, 256),
    "anyflow-wan2.1-t2v-1.3b": ((480, 832), True, 81, 16, 0, 1, 4, 1000, 0.001, torch.bfloat16, 1421.76, 512),
    "anyflow-wan2.1-t2v-14b": ((720, 1280), True, 81, 16, 0, 1, 4, 1000, 0.001, torch.bfloat16, 14316.03, 512),
    "flux1-dev": ((1024, 1024), True, 1, 1, 0, 1, 1, 1000, 0.001, torch.bfloat16, 11901.41, 512),
    "flux1-schnell": ((1024, 1024), True, 1, 1, 0, 1, 1, 1000, 0.001, torch.bfloat16, 11891.18, 256),
    "modelscope-1.7b": ((256, 256), True, 16, 8, 0, 1, 1, 1000, 0.0284, torch.float16, 1411.23, 77),
    "zeroscope-v2-576w": ((320, 576), True, 24, 8, 0, 1, 1, 1000, 0.0284, torch.float16, 1411.23, 77),
    "zeroscope-v2-xl": ((576, 1024), True, 24, 8, 0, 1, 1, 1000, 0.0284, torch.float16, 1411.23, 77),
    "sdxl-base-1.0": ((1024, 1024), True, 1, 1, 0, 1, 1, 1000, 0.0284, torch.float16, 2567.46, 77),
}


TOKENIZERS = {
    "T5To": ["special_tokens_map.json", "spiece.model", "tokenizer_config.json"],
    "CLIP": ["merges.txt", "special_tokens_map.json", "tokenizer_config.json", "vocab.json"],
    "Llam": ["tokenizer.json", "tokenizer_config.json"],
}

LATENTS = {"wan2.2-ti2v-5b": (48, 16, 4), "ltx-video": (128, 32, 8), "mochi-1": (12, 8, 6)}
"""Channels, pixels a side and frames of a latent, where they are not 16, 8 and 4."""


def denoiser(name):
    return next(folder for folder in RELEASES[name].parts if folder in ("transformer", "unet"))


@pytest.fixture(scope="session")
def words(tmp_path_factory):
    """The files of every release but for its weights; in their place a tensor of their precision."""
    folder = tmp_path_factory.mktemp("words")
    return {name: write_words(folder / name, name) for name in RELEASES}


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    """Every release, small, in as many files as on the hub. Read only: copy it to change it."""
    folder = tmp_path_factory.mktemp("small")
    return {name: save_released(folder / name, name, small=True) for name in RELEASES}


@pytest.mark.parametrize("name", RELEASES)
def test_what_a_release_says_is_what_is_known_of_it(words, name, monkeypatch):
    from flowedit.pipeline.plan import native_size

    monkeypatch.setattr(families, "find_device", lambda _: torch.device("cuda"))
    backbone = families.load(words[name])
    size, any_size, frames, fps, leading, patch, step, count, smallest, dtype, _, length = FACTS[name]
    spec = backbone.spec
    assert native_size(spec) == size
    assert spec.any_size is any_size
    assert (spec.trained_frames, spec.fps, spec.trained_step) == (frames, fps, step)
    assert (spec.leading_latents, spec.patch_frames) == (leading, patch)
    noise = name.startswith(("modelscope", "zeroscope", "sdxl"))  # what they predict, up to a time below 1
    assert (len(backbone.knots), round(float(backbone.knots[0]), 4)) == (count, 0.936 if noise else 1.0)
    assert float(backbone.knots[-1]) == pytest.approx(smallest, abs=1e-4)
    assert backbone.dtype is dtype
    assert spec.trained
    assert spec.notices == ()
    assert backbone.architecture.reading.length == length
    geometry = backbone.geometry(frames, size)
    assert geometry.frames == frames
    assert geometry.size == size
    channels, scale, step = LATENTS.get(name, (4, 8, 1) if noise else (16, 8, 4))
    assert geometry.latent == (channels, 1 + (frames - 1) // step + leading, size[0] // scale, size[1] // scale)
    assert geometry.latent[1] % patch == 0


@pytest.mark.parametrize("name", RELEASES)
def test_a_release_has_as_many_weights_as_it_is_called_by(name):
    weights = sum(each.numel() for each in network(RELEASES[name].parts[denoiser(name)]).parameters())
    assert weights / 1e6 == pytest.approx(FACTS[name][10], abs=0.01)


@pytest.mark.parametrize("name", RELEASES)
def test_the_layout_of_the_hub_is_read(small, name, capfd):
    folder, release = small[name], RELEASES[name]
    for tokenizer, each in release.tokenizers.items():
        assert [path.name for path in sorted((folder / tokenizer).iterdir())] == TOKENIZERS[each.kind[:4]]
    for component, part in release.parts.items():
        assert len(list((folder / component).glob("*.safetensors"))) == part.files
    backbone = families.load(folder, device="cpu")
    backbone.ready()
    saved = {
        key: value for path in (folder / denoiser(name)).glob("*.safetensors") for key, value in load_file(path).items()
    }
    state = backbone.components.transformer.state_dict()
    assert saved
    assert all(torch.equal(state[key], value.float()) for key, value in saved.items())
    encoder = {
        key: value for path in (folder / "text_encoder").glob("*.safetensors") for key, value in load_file(path).items()
    }
    assert "encoder.embed_tokens.weight" not in encoder  # as the hub's: one name for the two that are tied
    embedding = backbone.embed("a red fox runs")
    assert embedding.embedding.isfinite().all()
    assert embedding.embedding.std() > 0
    assert capfd.readouterr().err == ""  # no other library's warnings


@pytest.mark.parametrize("name", ["cogvideox-2b", "cogvideox1.5-5b", "wan2.1-t2v-14b"])
def test_tokens_are_those_of_sentencepiece(small, name):
    model = sentencepiece.SentencePieceProcessor(model_file=str(small[name] / "tokenizer" / "spiece.model"))
    tokenizer = families.load(small[name], device="cpu").text._tokenizer
    for text in ("a red fox runs over green grass", "Snow, and cars!", "panda's  walk", ""):
        assert tokenizer(text).input_ids == [*model.encode(text), 1]


@pytest.mark.parametrize(
    "name",
    [
        "cogvideox-2b",
        "cogvideox1.5-5b",
        "wan2.1-t2v-1.3b",
        "wan2.2-t2v-a14b",
        "wan2.2-ti2v-5b",
        "ltx-video",
        "hunyuan-video",
        "mochi-1",
    ],
)
def test_an_edit_runs_on_a_folder_of_that_layout(small, name, clip_file, tmp_path, capfd):
    import flowedit

    result = flowedit.edit(
        clip_file, source="a fox runs", target="a panda runs", source_words="fox", target_words="panda",
        backbone=small[name], steps=1, strength=1.0, size="96x64", frames=9, out=tmp_path / "out",
        runtime={"device": "cpu", "cache": None},
    )  # fmt: skip
    assert result.video.exists()
    assert result.mask.exists()
    assert capfd.readouterr().err == ""


# Variants, extra files, files that are not there


def fp16(folder):
    """The weights as a variant alone, as some repositories keep them; shards and index take its name too."""
    for path in list(folder.rglob("*.safetensors")):
        stem, rest = path.name.split(".", 1)[0].partition("-0")[::2]
        path.rename(path.with_name(f"{stem}.fp16{'-0' + rest if rest else ''}.safetensors"))
    for path in list(folder.rglob("*.index.json")):
        text = path.read_text()
        for stem in ("diffusion_pytorch_model", "model"):
            text = text.replace(f'"{stem}-0', f'"{stem}.fp16-0')
        path.unlink()
        path.with_name(path.name.replace(".index.json", ".index.fp16.json")).write_text(text)


@pytest.mark.parametrize("name", ["cogvideox-2b", "cogvideox-5b"])
def test_a_variant_alone_is_read_as_the_weights(small, name, copied):
    folder = copied(small[name])
    fp16(folder)
    backbone = families.load(folder, device="cpu")
    backbone.ready()
    plain = families.load(small[name], device="cpu").components.transformer.state_dict()
    assert all(torch.equal(value, plain[key]) for key, value in backbone.components.transformer.state_dict().items())
    assert backbone.embed("a fox").embedding.isfinite().all()


def test_of_a_variant_beside_the_weights_nothing_is_taken(small, copied):
    folder = copied(small["cogvideox-2b"])
    for name in ("diffusion_pytorch_model.fp16.safetensors", "adapter.safetensors", "a.safetensors"):
        save_file({"other": torch.zeros(3, dtype=torch.float64)}, folder / "transformer" / name)
    (folder / "transformer" / "diffusion_pytorch_model.bin").write_bytes(b"a pickle")
    (folder / "transformer" / ".gitattributes").write_text("*.bin lfs")
    (folder / "README.md").write_text("---\nlicense: other\n---")
    (folder / "assets").mkdir()
    checkpoint = Checkpoint(folder)
    assert checkpoint.dtype("transformer") is torch.float16
    assert checkpoint.parameters("transformer") == Checkpoint(small["cogvideox-2b"]).parameters("transformer")
    families.load(folder, device="cpu").ready()


def test_an_older_index_of_the_pipeline_is_read(small, copied):
    """Wan 14B first named another scheduler; an index of diffusers 0.30 has keys that are gone, and null components."""
    from flowedit.backbones.sheets.wan import FLOW_MATCH

    folder = copied(small["wan2.1-t2v-14b"])
    index = json.loads((folder / "model_index.json").read_text())
    index |= {"_diffusers_version": "0.30.0", "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"]}
    index |= {"image_encoder": [None, None], "requires_safety_checker": False, "_name_or_path": "somewhere/else"}
    (folder / "model_index.json").write_text(json.dumps(index))
    kind = {"_class_name": "FlowMatchEulerDiscreteScheduler"}
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(kind | dict(FLOW_MATCH)))
    backbone = families.load(folder, device="cpu")
    assert backbone.spec.shift == 3.0
    assert torch.equal(backbone.knots, families.load(small["wan2.1-t2v-14b"], device="cpu").knots)


@pytest.mark.parametrize(
    ("lost", "says"),
    [
        ("transformer/diffusion_pytorch_model-00002-of-00002.safetensors", "transformer/diffusion_pytorch_model-00002"),
        ("text_encoder/model-00001-of-00002.safetensors", "text_encoder/model-00001-of-00002.safetensors"),
        ("transformer/diffusion_pytorch_model.safetensors.index.json", "transformer/.*index.json"),
        ("vae/diffusion_pytorch_model.safetensors", "no safetensors weights in vae/"),
        ("tokenizer/spiece.model", "tokenizer"),
    ],
)
def test_a_folder_that_lacks_a_file_is_refused_before_anything_is_loaded(small, copied, lost, says):
    folder = copied(small["cogvideox-5b"])
    (folder / lost).unlink()
    with pytest.raises(InputError, match=says):
        families.load(folder, device="cpu")


def test_the_script_writes_them_and_helps(tmp_path, monkeypatch, capsys):
    def run(*args):
        monkeypatch.setattr(sys, "argv", ["make_random_backbone.py", *args])
        try:
            runpy.run_path(str(ROOT / "scripts" / "make_random_backbone.py"), run_name="__main__")
        except SystemExit as end:
            return end.code, capsys.readouterr().out
        return 0, capsys.readouterr().out

    code, told = run("--help")
    assert code == 0
    assert "--real-size" in told
    code, told = run(str(tmp_path / "out"), "cogvideox-5b", "--text-layers", "1")
    assert code == 0
    assert Path(told.strip()) == tmp_path / "out"
    assert json.loads((tmp_path / "out/text_encoder/config.json").read_text())["num_layers"] == 1
    families.load(tmp_path / "out", device="cpu").embed("a fox")
    refused, _ = run(str(tmp_path / "no"), "cogvideox-9b")  # a text ends with exit code 1
    assert refused.startswith("error: ")
    assert "cogvideox-9b" in refused
    assert run(str(tmp_path / "no"), "2b", "--real-size")[0] == 2
