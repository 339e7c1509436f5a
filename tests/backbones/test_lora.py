"""LoRAs: the fused weights are W + w (alpha / r) B A, as diffusers and peft make them, and nothing else is taken."""

import importlib.util
import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from flowedit.backbones import families
from flowedit.backbones.weights import asked
from flowedit.config import compose
from flowedit.messages import FileMissingError, InputError

ATTENTION = ("to_q", "to_v", "to_out.0")


def load(folder, *texts, **options):
    return families.load(folder, device="cpu", overlay=asked.overlay(texts), **options)


def weights(backbone):
    return {name: each.detach().clone() for name, each in backbone.components.transformer.named_parameters()}


def modules(folder):
    """Attention layers of the first two blocks, and their shapes."""
    found = load_file(folder / "transformer" / "diffusion_pytorch_model.safetensors")
    return {
        key.removesuffix(".weight"): tuple(each.shape)
        for key, each in found.items()
        if "blocks." in key and "attn1" in key and key.removesuffix(".weight").endswith(ATTENTION)
    }


def factors(folder, rank=3, seed=0):
    """A and B of each of these layers."""
    made = torch.Generator().manual_seed(seed)
    return {
        name: (torch.randn((rank, shape[1]), generator=made), 0.1 * torch.randn((shape[0], rank), generator=made))
        for name, shape in modules(folder).items()
    }


def saved(path, pairs, names="transformer.{}.lora_{}.weight", ends="AB", alpha=None, metadata=None, flat=False):
    tensors = {}
    for module, parts in pairs.items():
        named = module.replace(".", "_") if flat else module
        tensors |= {names.format(named, end): part for end, part in zip(ends, parts, strict=True)}
        if alpha is not None:
            tensors[names.partition(".lora_{}")[0].format(named) + ".alpha"] = torch.tensor(float(alpha))
    save_file(tensors, path, metadata)
    return path


LAYOUTS = {  # what saved() is told, and the scale that the file then means
    "diffusers": ({}, 1.0),
    "diffusers, of its metadata": (
        {"metadata": {"lora_adapter_metadata": json.dumps({"transformer.lora_alpha": 12, "transformer.r": 3})}},
        4.0,
    ),
    "diffusers, root of the rank": (
        {
            "metadata": {
                "lora_adapter_metadata": json.dumps({"transformer.lora_alpha": 12, "transformer.use_rslora": True})
            }
        },
        12 / 3**0.5,
    ),
    "without a prefix": ({"names": "{}.lora_{}.weight"}, 1.0),
    "peft": ({"names": "base_model.model.{}.lora_{}.weight"}, 1.0),
    "kohya": ({"names": "lora_unet_{}.lora_{}.weight", "ends": ("down", "up"), "alpha": 1.5, "flat": True}, 0.5),
}


@pytest.mark.parametrize("kind", ["backbone_wan", "backbone_2b"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_fused_weights_are_the_formula(request, tmp_path, kind, layout):
    folder = request.getfixturevalue(kind)
    how, scale = LAYOUTS[layout]
    pairs = factors(folder)
    path = saved(tmp_path / "style.safetensors", pairs, **how)
    before, after = weights(load(folder)), weights(load(folder, f"{path}:0.7"))
    for name, old in before.items():
        module = name.removesuffix(".weight")
        expected = old
        if module in pairs:
            down, up = pairs[module]
            expected = old + 0.7 * scale * (up @ down)
            assert not torch.allclose(expected, old, atol=1e-3)
        assert torch.allclose(after[name], expected, atol=1e-6), name


def test_several_add_up_and_weight_zero_is_none_to_the_bit(backbone_wan, tmp_path):
    one, two = (saved(tmp_path / f"{seed}.safetensors", factors(backbone_wan, seed=seed)) for seed in (1, 2))
    plain, none = weights(load(backbone_wan)), weights(load(backbone_wan, f"{one}:0", f"{two}:0.0"))
    assert all(torch.equal(none[name], each) for name, each in plain.items())
    both = weights(load(backbone_wan, f"{one}:0.5", f"{two}:-2"))
    alone = [weights(load(backbone_wan, text)) for text in (f"{one}:0.5", f"{two}:-2")]
    for name, each in plain.items():
        assert torch.allclose(both[name], sum(other[name] for other in alone) - each, atol=1e-6)


def test_wan_s_own_layout_is_that_of_diffusers(backbone_wan, tmp_path):
    names = {"to_q": "q", "to_v": "v", "to_out.0": "o"}
    pairs = factors(backbone_wan)
    own = {
        module.replace("attn1", "self_attn").replace(end, short): parts
        for module, parts in pairs.items()
        for end, short in names.items()
        if module.endswith(end)
    }
    theirs = saved(tmp_path / "own.safetensors", own, "diffusion_model.{}.lora_{}.weight", alpha=6)
    ours = saved(tmp_path / "ours.safetensors", pairs)
    made, expected = weights(load(backbone_wan, str(theirs))), weights(load(backbone_wan, f"{ours}:2"))
    assert all(torch.allclose(made[name], each, atol=1e-6) for name, each in expected.items())


@pytest.mark.skipif(importlib.util.find_spec("peft") is None, reason="diffusers loads LoRAs through peft")
@pytest.mark.parametrize("kind", ["backbone_wan", "backbone_2b"])
def test_the_network_is_that_of_diffusers_own_loader(request, tmp_path, kind):
    from diffusers import DiffusionPipeline

    folder = request.getfixturevalue(kind)
    metadata = {"lora_adapter_metadata": json.dumps({"transformer.lora_alpha": 5, "transformer.r": 3})}
    metadata["lora_adapter_metadata"] = json.dumps(
        {"transformer.lora_alpha": 5, "transformer.r": 3, "transformer.target_modules": list(modules(folder))}
    )
    path = saved(tmp_path / "style.safetensors", factors(folder), metadata=metadata)
    pipeline = DiffusionPipeline.from_pretrained(folder)
    pipeline.load_lora_weights(tmp_path, weight_name=path.name, adapter_name="style")
    pipeline.set_adapters(["style"], [0.7])
    ours = load(folder, f"{path}:0.7")
    prompt, z = ours.embed("a fox"), torch.randn((1, *ours.geometry(9, (64, 96)).latent))
    made = ours.velocity(prompt)(z, 0.5)
    plain = load(folder).velocity(prompt)(z, 0.5)
    ours.components.transformer = pipeline.transformer.eval()  # in place of the one that was fused
    ours.components._last = None
    theirs = ours.velocity(prompt)(z, 0.5)
    assert (made - theirs).norm() / theirs.norm() < 1e-5
    assert (made - plain).norm() / plain.norm() > 1e-3


@pytest.mark.parametrize("options", [{"offload": "blocks"}, {"weights": "fp8"}, {"how": "fuse"}])
def test_memory_and_speed_take_the_fused_weights(backbone_wan, tmp_path, options):
    from flowedit.networks.acceleration import Acceleration

    how = {"how": Acceleration(attention=None, fuse=True, compile=False, split_guidance=None, context_parallel=1)}
    options = how if "how" in options else options
    path = saved(tmp_path / "style.safetensors", factors(backbone_wan))
    made, plain = (load(backbone_wan, *texts, **options) for texts in ((str(path),), ()))
    exact = load(backbone_wan, str(path))
    prompt, z = exact.embed("a fox"), torch.randn((1, *exact.geometry(9, (64, 96)).latent))
    u, without, whole = (each.velocity(prompt)(z, 0.5) for each in (made, plain, exact))
    away = (whole - without).norm()
    assert (u - whole).norm() < away / 3


def test_two_networks_take_it_both_or_one(backbone_a14b, tmp_path):
    path = saved(tmp_path / "high.safetensors", factors(backbone_a14b))
    plain = load(backbone_a14b)

    def moved(*texts):
        made = load(backbone_a14b, *texts)
        pairs = (
            (getattr(made.components, name), getattr(plain.components, name)) for name in ("transformer", "second")
        )
        return [
            any(not torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
            for one, other in pairs
        ]

    assert moved(str(path)) == [True, True]
    assert moved(f"{path}:0.5@transformer") == [True, False]
    assert moved(f"{path}@transformer_2") == [False, True]


# What run.yaml and others hear of it


def test_it_is_described_by_its_content(backbone_wan, tmp_path):
    path = saved(tmp_path / "style.safetensors", factors(backbone_wan))
    (told,) = load(backbone_wan, f"{path}:0.5").describe()["loras"]
    assert told["file"] == "style.safetensors"
    assert told["weight"] == 0.5
    saved(path, factors(backbone_wan, seed=5))
    (other,) = load(backbone_wan, f"{path}:0.5").describe()["loras"]
    assert other["hash"] != told["hash"]
    assert "loras" not in load(backbone_wan).describe()


def test_its_text_is_read_to_the_letter(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "odd:2").touch()
    read = [
        asked.lora(text)
        for text in ("a b.safetensors", "x.safetensors:0.5", "C:\\x.safetensors", "odd:2", "y:-1e-1@transformer_2")
    ]
    assert [(str(each.path), each.weight, each.part) for each in read] == [
        ("a b.safetensors", 1.0, None),
        ("x.safetensors", 0.5, None),
        ("C:\\x.safetensors", 1.0, None),
        ("odd:2", 1.0, None),
        ("y", -0.1, "transformer_2"),
    ]
    assert compose.compose({"lora": "a.safetensors:0.5|b.safetensors"}).lora == ("a.safetensors:0.5", "b.safetensors")
    assert compose.compose({}, ["lora=a.safetensors"]).lora == ("a.safetensors",)
    assert asked.of_words(json.loads(json.dumps(asked.Overlay(tuple(read)).words()))).loras[4].part == "transformer_2"


# Faults


def refused(folder, *texts, match, error=InputError):
    with pytest.raises(error, match=match) as caught:
        load(folder, *texts)
    assert "\n" not in str(caught.value)


def test_what_is_no_lora_is_refused_in_one_line(backbone_wan, tmp_path):
    pairs = factors(backbone_wan)
    good = saved(tmp_path / "style.safetensors", pairs)
    refused(backbone_wan, f"{good}:much", match=r"the weight 'much' is no number; give FILE:WEIGHT")
    refused(backbone_wan, f"{good}:nan", match="is no number")
    refused(
        backbone_wan,
        str(tmp_path / "stile.safetensors"),
        match="did you mean 'style.safetensors'",
        error=FileMissingError,
    )
    refused(backbone_wan, str(tmp_path), match=r"is a folder: give one of its files, such as style\.safetensors")
    pickled = tmp_path / "style.pt"
    pickled.write_bytes(b"x")
    refused(backbone_wan, str(pickled), match=r"is no \.safetensors file")
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(good.read_bytes()[:40])
    refused(backbone_wan, str(broken), match="not a safetensors file, or is cut short")
    short = tmp_path / "short.safetensors"
    short.write_bytes(good.read_bytes()[:-40])
    refused(backbone_wan, str(short), match="cannot be read")
    text = saved(tmp_path / "text.safetensors", pairs, "text_encoder.{}.lora_{}.weight")
    refused(backbone_wan, str(text), match="changes a text encoder alone")
    other = tmp_path / "other.safetensors"
    save_file({"weight": torch.zeros(2)}, other)
    refused(backbone_wan, str(other), match="holds no LoRA, as no key such as 'weight'")
    dora = tmp_path / "dora.safetensors"
    save_file(load_file(good) | {"transformer.blocks.0.attn1.to_q.lora_magnitude_vector": torch.zeros(2)}, dora)
    refused(backbone_wan, str(dora), match="is a DoRA")
    name = next(iter(pairs))
    bad = saved(tmp_path / "bad.safetensors", pairs | {name: (pairs[name][0] * float("nan"), pairs[name][1])})
    refused(backbone_wan, str(bad), match="holds NaN or infinity in 'transformer.blocks")
    half = tmp_path / "half.safetensors"
    save_file(
        {key: each for key, each in load_file(good).items() if not key.startswith(f"transformer.{name}.lora_B")}, half
    )
    refused(backbone_wan, str(half), match="lacks half of the change")
    refused(backbone_wan, f"{good}@transformer_2", match="has one network")


def test_one_of_another_family_is_named(backbone_wan, backbone_2b, tmp_path):
    wan = saved(tmp_path / "wan.safetensors", factors(backbone_wan))
    refused(backbone_2b, str(wan), match=r"does not fit .*has no 'blocks.*looks like one of Wan")
    cog = saved(tmp_path / "cog.safetensors", factors(backbone_2b))
    refused(backbone_wan, str(cog), match=r"has no 'transformer_blocks.*looks like one of CogVideoX")
    sdxl = {"down_blocks.0.attentions.0.proj_in": (torch.zeros(2, 8), torch.zeros(8, 2))}
    refused(
        backbone_wan,
        str(saved(tmp_path / "xl.safetensors", sdxl, "lora_unet_{}.lora_{}.weight", ("down", "up"), 2, flat=True)),
        match="is for no WanPipeline: .*looks like one of .*SDXL.*; give one that was trained on it$",
    )
    name = next(iter(factors(backbone_wan)))
    large = {name: (torch.zeros(2, 5120), torch.zeros(5120, 2))}
    refused(
        backbone_wan, str(saved(tmp_path / "14b.safetensors", large)), match="5120x5120 and .*looks like one of Wan 14B"
    )


def test_a_part_for_the_text_encoder_is_left_out_and_said(backbone_wan, tmp_path):
    good = saved(tmp_path / "style.safetensors", factors(backbone_wan))
    both = tmp_path / "both.safetensors"
    save_file(load_file(good) | {"text_encoder.layer.lora_A.weight": torch.zeros(2, 2)}, both)
    told = load(backbone_wan, str(both)).spec.notices
    assert any("changes a text encoder too: that part is left out" in text for text in told)
    assert not any("text encoder" in text for text in load(backbone_wan, str(good)).spec.notices)


def test_peft_s_configuration_beside_it_says_alpha(backbone_wan, tmp_path):
    pairs = factors(backbone_wan)
    (tmp_path / "adapter_config.json").write_text(json.dumps({"lora_alpha": 6, "r": 3}))
    path = saved(tmp_path / "adapter_model.safetensors", pairs, "base_model.model.{}.lora_{}.weight")
    made = weights(load(backbone_wan, str(path)))
    shutil.move(tmp_path / "adapter_config.json", tmp_path / "moved.json")
    expected = weights(load(backbone_wan, f"{path}:2"))
    assert all(torch.allclose(made[name], each, atol=1e-6) for name, each in expected.items())
