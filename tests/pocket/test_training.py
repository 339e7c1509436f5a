"""The recipe of the checkpoint: a cut run ends as a whole one, and what would spoil a run is refused."""

import argparse
import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from diffusers import CogVideoXPipeline
from safetensors.torch import load_file

from flowedit.pocket import Spec, Thing, Vocabulary, scene

ROOT = Path(__file__).resolve().parents[2]
CHECKPOINT = ROOT / "flowedit" / "pocket" / "checkpoint"
sys.path.insert(0, str(ROOT / "scripts"))

from pocket_training import cache, flow, labels, models, vae  # noqa: E402

RECIPE = yaml.safe_load((ROOT / "conf" / "pocket" / "train.yaml").read_text())


def small(**changes):
    """The recipe on clips of 32x32 and 5 frames, with networks of a few thousand weights."""
    config = json.loads(json.dumps(RECIPE)) | {"size": [32, 32], "frames": 5}
    config["vae"] |= {"channels": [8, 8, 16, 16], "steps": 2, "decoder_steps": 2}
    for phases in ("phases", "decoder_phases"):
        config["vae"][phases] = [{"until": 1.0, "frames": 9, "crop": 32, "batch": 1}]
    config["text"] |= {"width": 16, "layers": 1, "heads": 2}
    config["flow"] |= {"steps": 4, "layers": 2, "heads": 2, "head_width": 16, "time_width": 16, "batch": 4}
    config["flow"] |= {"warm": 32, "clips": 32}
    for part, values in changes.items():
        config[part] |= values
    return config


def asked(work, **more):
    work.mkdir(exist_ok=True)
    plain = {"warm_start": None, "minutes": math.inf, "device": "cpu", "compile": False, "map": map, "out": None}
    return argparse.Namespace(work=work, stage="flow", **plain | more)


def fresh_vae(config, work):
    """An untrained autoencoder, as the stage `vae` leaves one."""
    torch.manual_seed(0)
    state = {"step": config["vae"]["steps"], "clips": 0, "spent": 0.0, "began": 0.0, "standard": True}
    torch.save({"state": state, "vae": models.new_vae(config).state_dict()}, work / "vae.pt")


def trained(config, args):
    fresh_vae(config, args.work)
    flow.train_flow(config, args)
    return torch.load(args.work / "flow.pt", weights_only=True)


def test_the_recipe_is_of_the_shipped_checkpoint():
    about = json.loads((CHECKPOINT / "flowedit.json").read_text())
    assert {key: about[key] for key in RECIPE["vocabulary"]} == RECIPE["vocabulary"]
    assert (about["size"], about["frames"]) == (RECIPE["size"], RECIPE["frames"])
    made = {"vae": models.new_vae(RECIPE), **models.new_flow(RECIPE, models.new_tokenizer())}
    for part, module in made.items():
        (file,) = (CHECKPOINT / part).glob("*.safetensors")
        shipped = load_file(file)
        own = {name: weight.shape for name, weight in module.state_dict().items() if name in shipped}
        assert own == {name: weight.shape for name, weight in shipped.items()}, part


def test_a_token_has_the_label_of_what_covers_it():
    learned = Vocabulary(**RECIPE["vocabulary"])
    shown = scene(Spec((Thing("car", "still", tint="blue", x=0.5, y=0.5),), "sand"), (128, 128), 9)
    found = labels.labels(shown, learned, 16, 3)
    car = len(learned.grounds) + learned.classes.index("car") * len(learned.tints) + learned.tints.index("blue")
    assert found.shape == (3, 8, 8)
    assert set(np.unique(found)) == {learned.grounds.index("sand"), car}
    assert (found[:, 3:5, 3:5] == car).all()
    assert (found[:, [0, -1]] == learned.grounds.index("sand")).all()
    assert car < labels.kinds(learned)


def test_latents_of_unit_variance_are_folded_in_exactly():
    torch.manual_seed(1)
    net = models.new_vae(small()).double().eval()
    video = torch.randn(1, 3, 9, 64, 64, dtype=torch.float64)
    mean, std = torch.randn(16, dtype=torch.float64), torch.rand(16, dtype=torch.float64) + 0.5
    shape = (1, 16, 1, 1, 1)
    with torch.no_grad():
        before = net.encode(video).latent_dist
        decoded, read = net.decode(before.mean).sample, net.decoder.conv_in.conv(before.mean)
        vae.standardise(net, torch.zeros_like(mean), std)
        again = net.decode(before.mean / std.view(shape)).sample
        vae.standardise(net, mean, torch.ones_like(std))
        after = net.encode(video).latent_dist
        read_again = net.decoder.conv_in.conv(after.mean)
    assert torch.allclose(again, decoded, atol=1e-9)
    assert torch.allclose(after.mean, before.mean / std.view(shape) - mean.view(shape), atol=1e-9)
    assert torch.allclose(after.std, before.std / std.view(shape), rtol=1e-9)
    inner = np.s_[..., 1:-1, 1:-1]  # at the rim the zero padding stands for another latent now
    assert torch.allclose(read_again[inner], read[inner], atol=1e-9)


def test_a_crop_lies_inside_and_over_an_object():
    masks = np.zeros((1, 5, 64, 64), np.float32)
    masks[0, :, 3:7, 58:62] = 1
    rng = np.random.default_rng(0)
    for _ in range(50):
        time, down, across = vae.crop(masks, 32, rng, on_object=1.0)
        assert masks[0][time, down, across].any()
        assert all(part.start >= 0 and part.stop <= 64 and part.stop - part.start == 32 for part in (down, across))


def test_a_run_that_was_cut_ends_as_a_whole_one(tmp_path, monkeypatch):
    config = small()
    whole = trained(config, asked(tmp_path / "whole"))
    assert whole["state"]["step"] == 4
    with monkeypatch.context() as patch:
        patch.setattr(flow, "goes_on", lambda state, steps, args: state["step"] < 2)
        assert trained(config, asked(tmp_path / "cut"))["state"]["step"] == 2
    cut = trained(config, asked(tmp_path / "cut"))
    for name in ("model", "ema"):
        assert all(torch.equal(weight, cut[name][key]) for key, weight in whole[name].items()), name
    logged = [json.loads(line) for line in (tmp_path / "cut" / "flow.jsonl").read_text().splitlines()]
    assert [row["step"] for row in logged if "validation" in row] == [2, 4]
    out = tmp_path / "checkpoint"
    flow.export(config, asked(tmp_path / "cut", out=out))
    flow.export(config, asked(tmp_path / "cut", out=out))  # an earlier checkpoint may be replaced
    pipe = CogVideoXPipeline.from_pretrained(out, local_files_only=True)
    assert pipe.vae.config.scaling_factor == pytest.approx(cut["state"]["scale"])
    assert json.loads((out / "flowedit.json").read_text())["clips_seen"] == 16


def test_weights_to_start_from_are_taken_over(tmp_path):
    config = small()
    trained(config, asked(tmp_path / "one"))
    flow.export(config, asked(tmp_path / "one", out=tmp_path / "checkpoint"))
    (tmp_path / "two").mkdir()
    fresh_vae(config, tmp_path / "two")
    flow.train_flow(config, asked(tmp_path / "two", warm_start=tmp_path / "checkpoint", minutes=0))
    start = torch.load(tmp_path / "two" / "flow.pt", weights_only=True)["model"]
    shipped = load_file(next((tmp_path / "checkpoint" / "transformer").glob("*.safetensors")))
    assert shipped
    assert all(torch.equal(start[f"transformer.{name}"].half(), weight) for name, weight in shipped.items())


def test_the_autoencoder_is_standardised_once_and_its_decoder_alone_goes_on(tmp_path):
    config = small()
    args = asked(tmp_path / "work")
    args.stage = "vae"
    vae.train_vae(config, args)
    first = torch.load(args.work / "vae.pt", weights_only=True)["vae"]
    vae.train_vae(config, args)
    again = torch.load(args.work / "vae.pt", weights_only=True)["vae"]
    assert all(torch.equal(weight, again[name]) for name, weight in first.items())
    args.stage = "decoder"
    vae.train_vae(config, args)
    state = torch.load(args.work / "decoder.pt", weights_only=True)
    same = {name.partition(".")[0] for name, weight in first.items() if torch.equal(weight, state["vae"][name])}
    other = {name.partition(".")[0] for name, weight in first.items() if not torch.equal(weight, state["vae"][name])}
    assert (same, other) == ({"encoder"}, {"decoder"})
    state["state"]["step"] = 1
    torch.save(state, args.work / "decoder.pt")
    with pytest.raises(SystemExit, match="the stage decoder is at step 1 of 2: finish it first"):
        vae.trained_vae(args.work, config, "cpu")


def test_cached_clips_of_another_kind_are_not_trained_on(tmp_path):
    config = small()
    trained(config, asked(tmp_path / "work"))
    for other, named in (
        (small(text={"length": 12}), "text.length"),
        (config | {"frames": 9}, "frames"),
        (config | {"vocabulary": config["vocabulary"] | {"classes": ["fox"]}}, "vocabulary"),
    ):
        with pytest.raises(SystemExit, match=f"made with another {named}: take a new --work DIR"):
            cache.Cache(other, asked(tmp_path / "work"), models.new_vae(config), models.new_tokenizer(), 10)
    torch.manual_seed(5)
    with pytest.raises(SystemExit, match="made with another encoder: take a new --work DIR"):
        cache.Cache(config, asked(tmp_path / "work"), models.new_vae(config), models.new_tokenizer(), 10)


def test_an_export_replaces_nothing_but_a_checkpoint(tmp_path):
    config = small()
    args = asked(tmp_path / "work")
    fresh_vae(config, args.work)
    with pytest.raises(SystemExit, match="export needs --out DIR"):
        flow.export(config, args)
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.txt").write_text("years")
    with pytest.raises(SystemExit, match="holds no pocket checkpoint: name a new folder"):
        flow.export(config, asked(args.work, out=precious))
    assert (precious / "thesis.txt").read_text() == "years"
    with pytest.raises(SystemExit, match=r"holds no flow.pt: run the stage flow first"):
        flow.export(config, asked(args.work, out=tmp_path / "new"))
