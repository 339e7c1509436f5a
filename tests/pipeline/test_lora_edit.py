"""--lora from the command line, Python and conf: what it moves, what run.yaml keeps, and that a resumed edit asks."""

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

import flowedit
from flowedit.config import compose
from flowedit.messages import FileMissingError, InputError
from flowedit.pipeline import resume, run
from flowedit.pipeline.plan import brief

FLAGS = {
    "source": "a red square moves",
    "target": "a blue panda moves",
    "steps": 2,
    "size": "48x32",
    "frames": 5,
    "cuts": "none",
}


@pytest.fixture(scope="module")
def style(backbone_2b, tmp_path_factory):
    """A LoRA of one layer that moves it by far."""
    path = tmp_path_factory.mktemp("loras") / "my style.safetensors"
    weights = load_file(backbone_2b / "transformer" / "diffusion_pytorch_model.safetensors")
    name = next(key for key in weights if key.endswith("attn1.to_v.weight"))
    made, (out, into) = torch.Generator().manual_seed(0), weights[name].shape
    module = f"transformer.{name.removesuffix('.weight')}"
    factors = {"A": torch.randn((2, into), generator=made), "B": torch.randn((out, 2), generator=made)}
    save_file({f"{module}.lora_{end}.weight": each for end, each in factors.items()}, path)
    return path


def test_a_flag_and_python_make_the_same_and_run_yaml_keeps_it(command, backbone_2b, clip_file, style, tmp_path):
    flags = [part for key, value in FLAGS.items() for part in (f"--{key}", value)]
    place = ["--backbone", backbone_2b, "runtime.device=cpu"]
    code, _, err = command(
        "edit", clip_file, *flags, *place, "--lora", f"{style}:0.5", "--lora", style, "--out", tmp_path / "a"
    )
    assert code == 0, err
    told = yaml.safe_load((tmp_path / "a" / "run.yaml").read_text())
    assert told["settings"]["lora"] == [f"{style}:0.5", str(style)]
    assert [each["weight"] for each in told["backbone"]["loras"]] == [0.5, 1.0]
    assert len({each["hash"] for each in told["backbone"]["loras"]}) == 1
    options = {**FLAGS, "backbone": backbone_2b, "runtime.device": "cpu"}
    once, twice, plain = (
        flowedit.edit(clip_file, **options, lora=lora, out=tmp_path / out).latents
        for lora, out in ((f"{style}:1.5", "b"), ([f"{style}:0.5", style], "c"), (None, "d"))
    )
    assert torch.allclose(once, twice, atol=1e-4)
    assert not torch.allclose(once, plain, atol=1e-2)


def test_an_editor_keeps_the_lora_that_it_was_loaded_with(backbone_2b, clip_file, style):
    options = {"runtime.device": "cpu"}
    editor = flowedit.load(backbone_2b, lora=style, **options)
    (told,) = editor.backbone.describe()["loras"]
    assert told["file"] == style.name
    with pytest.raises(InputError, match="lora: chosen when the editor is loaded"):
        editor.edit(clip_file, lora=style, **FLAGS)


def test_a_killed_edit_does_not_go_on_with_another_lora(backbone_2b, style, tmp_path):
    def key(*texts):
        flags = {**FLAGS, "source": "a", "target": "b", "backbone": str(backbone_2b), "runtime.device": "cpu"}
        settings = compose.compose({**flags, "lora": "|".join(map(str, texts)) or None})
        return resume.key_of(brief(settings), run.load_backbone(settings), backbone_2b)

    copy = tmp_path / "elsewhere.safetensors"
    copy.write_bytes(style.read_bytes())
    moved = tmp_path / style.name
    moved.write_bytes(style.read_bytes())
    plain, one, half, there = key(), key(style), key(f"{style}:0.5"), key(moved)
    assert one == there
    assert len({str(each) for each in (plain, one, half)}) == 3


def test_it_is_refused_before_the_clip_is_encoded(command, backbone_2b, clip_file, style, tmp_path):
    flags = ["--source", "a", "--target", "b", "--backbone", backbone_2b, "runtime.device=cpu", "--out", tmp_path / "o"]
    code, _, err = command("edit", clip_file, *flags, "--lora", style.with_name("my stile.safetensors"))
    assert code == 1
    assert "did you mean 'my style.safetensors'?" in err
    assert err.strip().splitlines()[-1].startswith("flowedit: lora ")
    assert not (tmp_path / "o").exists()
    with pytest.raises(FileMissingError, match="does not exist"):
        flowedit.edit(clip_file, source="a", target="b", backbone="cogvideox-2b", lora=tmp_path / "none.safetensors")
