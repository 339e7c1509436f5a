"""A configuration that no model can have is refused before anything is made of it; released ones pass."""

import json
import os
import shutil

import diffusers
import pytest

from flowedit.backbones import families, released, screening
from flowedit.messages import InputError


@pytest.mark.parametrize("name", released.RELEASES)
def test_released_configurations_pass(name):
    release = released.RELEASES[name]
    for part in release.parts.values():
        screening.check(part.config, part.kind, getattr(diffusers, part.kind, None))


@pytest.mark.parametrize(
    ("file", "changes", "says"),
    [
        ("transformer/config.json", {"patch_size": "2"}, "patch_size '2' is not of the kind"),
        ("transformer/config.json", {"patch_size": 0}, "patch_size 0 is not 1 or more"),
        ("transformer/config.json", {"num_layers": 10**9}, "num_layers 1000000000 is out of all measure: at most 256"),
        ("transformer/config.json", {"max_text_seq_length": 10**9}, "max_text_seq_length 1000000000 is out of"),
        ("transformer/config.json", {"sample_height": 10**5}, "sample_height 100000 is out of"),
        ("vae/config.json", {"block_out_channels": 3}, "block_out_channels 3 is not of the kind"),
        ("vae/config.json", {"scaling_factor": float("nan")}, "scaling_factor nan is out of all measure"),
        ("scheduler/scheduler_config.json", {"beta_schedule": "none"}, "it cannot be opened"),
        ("scheduler/scheduler_config.json", {"num_train_timesteps": 2**40}, "num_train_timesteps 1099511627776 is out"),
        (
            "flowedit.json",
            dict.fromkeys(("classes", "grounds", "motions", "sizes", "tints"), 3),
            "is not a list of",
        ),
    ],
)
def test_absurd_settings_are_refused_by_name(tmp_path, backbone_2b, file, changes, says):
    folder = shutil.copytree(backbone_2b, tmp_path / "b")
    data = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps(data | changes))
    with pytest.raises(InputError, match=says):
        families.load(folder)


@pytest.mark.parametrize(
    "text",
    ["", "null", "3", "[]", "[1]", '"a"', "[" * 100_000, '{"a":' * 100_000, "9" * 5000, "{]"],
    ids=lambda t: t[:4],
)
@pytest.mark.parametrize("file", ["model_index.json", "transformer/config.json", "flowedit.json"])
def test_a_file_that_holds_no_mapping_is_named(tmp_path, backbone_2b, file, text):
    folder = shutil.copytree(backbone_2b, tmp_path / "b")
    (folder / file).write_text(text)
    with pytest.raises(InputError, match=file.rpartition("/")[2]) as caught:
        families.load(folder)
    assert len(str(caught.value)) < 300


def test_text_encoders_are_held_to_the_same_bounds(tmp_path, backbone_2b):
    folder = shutil.copytree(backbone_2b, tmp_path / "b")
    file = folder / "text_encoder" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"vocab_size": 10**9}))
    with pytest.raises(InputError, match="vocab_size 1000000000 is out of all measure"):
        families.load(folder).embed("a fox")
    (folder / "text_encoder" / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "/etc"}))
    with pytest.raises(InputError, match="text_encoder is an adapter"):
        families.load(folder).embed("a fox")


@pytest.mark.parametrize("extra", [10**9, "a", [1]])
def test_a_tokenizer_of_a_billion_tokens_is_refused(tmp_path, backbone_2b, extra):
    folder = shutil.copytree(backbone_2b, tmp_path / "b")
    (folder / "tokenizer" / "tokenizer_config.json").write_text(json.dumps({"extra_ids": extra}))
    with pytest.raises(InputError, match=r"tokenizer_config\.json': extra_ids .* is out of all measure"):
        families.load(folder).spans("a fox")


@pytest.mark.parametrize("component", ["transformer", "vae", "text_encoder"])
def test_weights_that_lie_nowhere_are_named_once(tmp_path, backbone_2b, command, clip_file, component):
    folder = shutil.copytree(backbone_2b, tmp_path / "b")
    for path in (folder / component).glob("*.safetensors"):
        path.rename(path.with_name(path.stem + ".fp16.safetensors.old"))
        path.with_name("other.safetensors").write_bytes(b"")
    code, out, said = command(
        "edit", clip_file, "--source", "a", "--target", "b", "--backbone", folder, "--out", tmp_path / "o", "--quiet"
    )
    assert (code, out) == (1, "")
    assert [line for line in said.splitlines() if not line.startswith("note: ")] == [said.splitlines()[-1]]
    assert component in said.splitlines()[-1]


@pytest.mark.parametrize("file", ["transformer/diffusion_pytorch_model.safetensors", "tokenizer/added_tokens.json"])
def test_a_pipe_is_not_waited_for(tmp_path, backbone_2b, file):
    folder = shutil.copytree(backbone_2b, tmp_path / "b")
    (folder / file).unlink(missing_ok=True)
    os.mkfifo(folder / file)
    with pytest.raises(InputError, match=f"{file.rpartition('/')[2]} is neither a file nor a folder"):
        families.load(folder)
