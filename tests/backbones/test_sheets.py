"""A family that a plug-in adds, network and sheet: reckoned, listed, written and opened with no other file changed."""

import json
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import EntryPoint

import pytest
import torch

from flowedit.backbones import families, memory, shapes
from flowedit.backbones.checkpoint import Checkpoint
from flowedit.backbones.encoders import t5
from flowedit.backbones.families import FAMILIES, Family, NamedCheckpoint
from flowedit.backbones.options import BackboneOptions
from flowedit.backbones.random_weights import KINDS, save_random
from flowedit.backbones.released import RELEASES, network, save_released
from flowedit.backbones.sheet import SHEETS, Recipe, Release, ReleasedTokenizer, Sheet, sheet_of
from flowedit.backbones.sheets import wan
from flowedit.doctor import catalogue
from flowedit.messages import InputError
from flowedit.pretrained import layout
from flowedit.types import BackboneSpec

# The plug-in: one file, of a network in `unet`, two text encoders, and two tokenizers of unlike kinds.


class ToyBackbone:
    """It only knows its own name."""

    def __init__(self, checkpoint, device, dtype, **how):
        self.device, self.dtype = device, dtype
        self.spec = BackboneSpec(
            name=checkpoint.name, notices=(), trained=True, trained_frames=9, fps=8, latent_size=(8, 8),
            native_area=4096, multiple=8, frames_per_latent=4,
        )  # fmt: skip


def write_bpe(folder):
    folder.mkdir(parents=True)
    (folder / "vocab.json").write_text(json.dumps({"<|startoftext|>": 0, "<|endoftext|>": 1, "a</w>": 2}))
    (folder / "merges.txt").write_text("#version: 0.2\n")


OF_WAN = wan.SHEET.releases["wan2.1-t2v-1.3b"]
RELEASE = Release(
    "ToyPipeline",
    "0.40.0",
    {
        "unet": replace(OF_WAN.parts["transformer"], saved="float16", files=1),
        "vae": OF_WAN.parts["vae"],
        "text_encoder": t5.part("float16", 1),
        "text_encoder_2": t5.umt5_part("bfloat16", 2),
    },
    OF_WAN.scheduler,
    {"tokenizer": t5.TOKENIZER, "tokenizer_2": ReleasedTokenizer("CLIPTokenizer", write_bpe)},
)
SHEET = replace(
    wan.SHEET,
    pipelines=("ToyPipe*",),
    denoiser=replace(wan.SHEET.denoiser, folder="unet"),
    encoders={"text_encoder": t5.TERMS, "text_encoder_2": t5.TERMS},
    reads={"text_encoder": 77},
    itemsize=None,
    releases={"toy-1b": RELEASE},
    small={**wan.SHEET.small, "T5EncoderModel": t5.SMALL},
    recipes={"toy": Recipe("a toy", wan.SHEET.recipes["wan"].pipeline)},
)
FAMILY = Family(
    "a toy",
    ("ToyPipeline",),
    ToyBackbone,
    checkpoints={"toy-1b": NamedCheckpoint(repository="someone/toy-1b", download="3 GB", license="Apache-2.0")},
)


@pytest.fixture
def toy():
    FAMILIES.add("toy", FAMILY)
    SHEETS.add("toy", SHEET)
    yield
    FAMILIES.remove("toy")
    SHEETS.remove("toy")


@pytest.fixture
def folder(toy, tmp_path):
    return save_released(tmp_path / "toy", "toy-1b", small=True)


@pytest.mark.usefixtures("toy")
def test_its_release_is_reckoned_by_its_own_terms():
    drawn, like = memory.released("toy-1b"), memory.released("wan2.1-t2v-1.3b")
    latent, gib = (16, 21, 60, 104), 2**30
    found, plain = memory.phases(drawn, latent), memory.phases(like, latent)
    assert found["edit"] == {"unet" if what == "transformer" else what: size for what, size in plain["edit"].items()}
    assert found["encode"] == plain["encode"]
    whole = max(rest + block * count for rest, block, count in encoders(drawn))
    assert found["text"]["text encoder"] == pytest.approx(2 * whole / gib)
    streamed = max(rest + block for rest, block, _ in encoders(drawn))
    assert memory.phases(drawn, latent, offload="blocks")["text"]["text encoder"] == pytest.approx(2 * streamed / gib)
    assert found["text"]["attention"] == plain["text"]["attention"]  # that of the encoder that reads more: 512 tokens
    assert found["text"]["attention"] == 2 * 64 * 512**2 * 4 / gib
    assert memory.precisions(drawn, "auto", cpu=False) == (2, 4, 2)
    assert catalogue.teraflops(drawn, latent) == catalogue.teraflops(like, latent)


def encoders(drawn):
    return [memory.parameters(drawn, name) for name in ("text_encoder", "text_encoder_2")]


@pytest.mark.usefixtures("toy")
def test_what_an_encoder_reads_is_asked_for_by_its_folder():
    fewer = replace(SHEET, reads={"text_encoder": 77, "text_encoder_2": 11})
    SHEETS.remove("toy")
    SHEETS.add("toy", fewer)
    found = memory.phases(memory.released("toy-1b"), (16, 21, 60, 104))["text"]
    assert found["attention"] == 2 * 64 * 77**2 * 4 / 2**30


def test_its_small_folder_is_whole_and_drawn(folder):
    assert layout.lacking(folder) == []
    assert layout.components(folder) == [
        "scheduler", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "unet", "vae",
    ]  # fmt: skip
    drawn = memory.of_folder(folder)
    assert set(drawn.parts) == {"unet", "vae", "text_encoder", "text_encoder_2"}
    assert (drawn.saved, drawn.denoisers) == (2, 1)
    for component in ("unet", "text_encoder", "text_encoder_2"):
        part = RELEASES["toy-1b"].parts[component]
        numbers = {id(each): each.numel() for each in network(part, drawn.parts[component]).parameters()}
        rest, block, count = memory.parameters(drawn, component)
        assert rest + block * count == sum(numbers.values())
    spec = shapes.of_blueprint(drawn, layout.notes(folder))
    assert shapes.geometry_of(drawn, spec, 9, (64, 96)).latent == (16, 3, 8, 12)


def test_its_small_folder_is_opened_by_its_family(folder):
    checkpoint, family, _ = families.found(folder, None, "cpu", "auto")
    assert (checkpoint.denoiser, checkpoint.dtype("unet"), family) == ("unet", torch.float16, FAMILY)
    assert len(checkpoint.describe(torch.device("cpu"), torch.float32)["fingerprint"]) == 64
    assert isinstance(families.load(folder, device="cpu"), ToyBackbone)


def test_layers_of_both_text_encoders_are_cut(toy, tmp_path):
    folder = save_released(tmp_path, "toy-1b", small=True, text_layers=1)
    for component in ("text_encoder", "text_encoder_2"):
        assert layout.read_json(folder / component / "config.json")["num_layers"] == 1


@pytest.mark.parametrize(
    ("lost", "says"),
    [
        (["tokenizer_2/merges.txt"], "tokenizer_2/merges.txt"),
        (
            ["tokenizer_2/merges.txt", "tokenizer_2/vocab.json"],
            "tokenizer_2/spiece.model or tokenizer.json or vocab.json and merges.txt",
        ),
        (["unet/diffusion_pytorch_model.safetensors"], "unet/*.safetensors"),
        (["unet/config.json"], "unet/config.json"),
        (["text_encoder_2/model-00001-of-00002.safetensors"], "text_encoder_2/model-00001-of-00002.safetensors"),
    ],
)
def test_what_its_folder_lacks_is_named(folder, lost, says):
    for name in lost:
        (folder / name).unlink()
    assert layout.lacking(folder) == [says]
    with pytest.raises(InputError, match=r"lacks|no safetensors weights"):
        Checkpoint(folder).require_whole()


def test_a_tokenizer_in_one_file_is_whole(folder):
    for name in ("vocab.json", "merges.txt"):
        (folder / "tokenizer_2" / name).unlink()
    (folder / "tokenizer_2" / "tokenizer.json").write_text("{}")
    assert layout.lacking(folder) == []


@pytest.mark.usefixtures("toy")
def test_the_doctor_and_the_list_have_a_row_of_it(command):
    head, *rows = catalogue.rows(catalogue.named())
    row = dict(zip(head, next(row for row in rows if row[0] == "toy-1b"), strict=True))
    assert row["size, frames, rate"] == "832x480, 81, 16 a second"
    assert float(row["TFLOP"]) > 100
    assert row["download"] == "3 GB"
    assert not row["this machine"].startswith("not known")
    _, out, _ = command("list", "backbones")
    line = next(line for line in out.splitlines() if line.startswith("toy-1b "))
    assert "832x480, 81, 16 a second" in line
    _, out, _ = command("doctor", "--backbone", "toy-1b", "--memory", "80", "--json")
    assert list(json.loads(out)["backbones"]) == ["toy-1b"]


@pytest.mark.usefixtures("toy")
def test_its_times_are_those_of_its_release():
    given = BackboneOptions(name="toy-1b", repository="someone/toy-1b", download=None, path=None)
    with pytest.raises(InputError, match="which is not here"):
        families.times_of(given)  # its family says no times without a checkpoint
    FAMILIES.remove("toy")
    FAMILIES.add("toy", replace(FAMILY, times=lambda schedule: (torch.tensor([1.0, 0.5]), schedule["flow_shift"])))
    times = families.times_of(given)
    assert (times.knots.tolist(), times.shift, times.strength_shift) == ([1.0, 0.5], 3.0, 3.0)
    families.times_of.cache_clear()


@pytest.mark.usefixtures("toy")
def test_its_random_checkpoint_is_written_by_its_kind(tmp_path):
    assert "toy" in KINDS
    folder = save_random(tmp_path / "toy", "toy")
    assert "a toy" in layout.read_json(folder / "flowedit.json")["about"]


def test_a_sheet_s_names_go_with_it(toy, folder):
    assert RELEASES["toy-1b"] is RELEASE
    assert list(RELEASES) == [name for _, each in sorted(SHEETS.items()) for name in each.releases]  # by their names
    assert len(RELEASES) == len(set(RELEASES))
    SHEETS.remove("toy")
    assert "toy-1b" not in RELEASES
    assert RELEASES.get("toy-1b") is None
    assert "toy" not in KINDS
    assert memory.released("toy-1b") is None
    assert memory.of_folder(folder) is None  # nobody knows what it needs
    with pytest.raises(InputError, match=r"'toy-1b' is not one of .*cogvideox-2b"):
        save_released(folder, "toy-1b")


def test_a_sheet_is_found_by_name_before_a_pattern():
    named = replace(wan.SHEET, pipelines=("CogVideoXFunControlPipeline",))
    SHEETS.add("control", named)
    try:
        assert sheet_of("CogVideoXFunControlPipeline") is named
        assert sheet_of("CogVideoXPipeline") is SHEETS["cogvideox"]
        assert sheet_of("AllegroPipeline") is None
    finally:
        SHEETS.remove("control")


def test_a_broken_sheet_is_told_of_and_breaks_no_other(command, monkeypatch):
    broken = EntryPoint("broken", "no_such_package_of_anyone:sheet", "flowedit.sheets")
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: [broken] if group == SHEETS.group else [])
    monkeypatch.setattr(SHEETS, "_read", False)
    monkeypatch.setattr(SHEETS, "broken", {})
    assert memory.released("cogvideox-2b") is not None
    _, out, _ = command("list", "backbones")
    assert "family sheet 'broken' cannot be loaded" in " ".join(out.split())


def test_sheets_hold_sheets_and_load_no_torch():
    assert all(isinstance(sheet, Sheet) for sheet in SHEETS.values())
    code = (
        "import sys; from flowedit.backbones import memory, released, shapes\n"
        "drawn = memory.released('wan2.2-t2v-a14b'); memory.phases(drawn, (16, 21, 60, 104))\n"
        "shapes.of_blueprint(drawn, {}); drawn.work((16, 21, 60, 104)); print('cogvideox-2b' in released.RELEASES)\n"
        "print([m for m in ('torch', 'diffusers', 'transformers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["True", "[]"]
