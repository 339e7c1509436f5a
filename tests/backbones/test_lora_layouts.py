"""LoRAs of every family with an alpha, in every layout of keys: the fused weights are W + w (alpha / r) B A."""

import json
import re
from functools import cache

import diffusers
import pytest
import torch
from safetensors.torch import load_file, save_file

from flowedit.backbones.checkpoint import Checkpoint
from flowedit.backbones.weights import asked
from flowedit.messages import InputError

RANK, ALPHA, WEIGHT = 3, 1.2, 0.7
FAMILIES = ("2b", "wan", "anyflow", "flux", "ltx", "hunyuan", "mochi", "sdxl", "modelscope")
LAYOUTS = {  # keys of A, B and alpha; {n} is the network, {m} the module, {f} the same with lines for dots
    "diffusers": ("{n}.{m}.lora_A.weight", "{n}.{m}.lora_B.weight", "{n}.{m}.alpha"),
    "diffusers, of 2023": ("{n}.{m}.lora.down.weight", "{n}.{m}.lora.up.weight", "{n}.{m}.lora.alpha"),
    "without a prefix": ("{m}.lora_A.weight", "{m}.lora_B.weight", "{m}.alpha"),
    "ComfyUI": ("diffusion_model.{m}.lora_A.weight", "diffusion_model.{m}.lora_B.weight", "diffusion_model.{m}.alpha"),
    "ComfyUI, down and up": (
        "diffusion_model.{m}.lora_down.weight", "diffusion_model.{m}.lora_up.weight", "diffusion_model.{m}.alpha",
    ),
    "peft": ("base_model.model.{m}.lora_A.weight", "base_model.model.{m}.lora_B.weight", "base_model.model.{m}.alpha"),
    "kohya": ("lora_unet_{f}.lora_down.weight", "lora_unet_{f}.lora_up.weight", "lora_unet_{f}.alpha"),
    "kohya, of a transformer": (
        "lora_transformer_{f}.lora_down.weight", "lora_transformer_{f}.lora_up.weight", "lora_transformer_{f}.alpha",
    ),
}  # fmt: skip


@cache  # a folder of tests is read only
def plain(folder, component):
    return network(folder, component=component)


def network(folder, *texts, component=None):
    checkpoint = Checkpoint(folder, overlay=asked.overlay(texts))
    checkpoint.require_whole()
    component = component or checkpoint.denoiser
    config = json.loads((folder / component / "config.json").read_text())
    model = checkpoint.model(component, getattr(diffusers, config["_class_name"]), torch.float32)
    return {name: each.detach().clone() for name, each in model.named_parameters()}


def shapes(folder):
    """Attention's layers of a network, and their shapes; and the network's folder."""
    name = Checkpoint(folder).denoiser
    found = load_file(folder / name / "diffusion_pytorch_model.safetensors")
    ends = r"attn\d?\.(to_q|to_v|to_out\.0)\.weight"
    return name, {key.removesuffix(".weight"): each.shape for key, each in found.items() if re.search(ends, key)}


def drawn(sizes, seed=0):
    """A and B of each module."""
    made = torch.Generator().manual_seed(seed)
    return {
        name: (torch.randn((RANK, into), generator=made), 0.1 * torch.randn((out, RANK), generator=made))
        for name, (out, into) in sizes.items()
    }


def written(path, pairs, layout, name="transformer", alpha=ALPHA):
    tensors = {}
    for module, parts in pairs.items():
        values = (*parts, torch.tensor(alpha))
        keys = (key.format(n=name, m=module, f=module.replace(".", "_")) for key in layout)
        tensors |= dict(zip(keys, values, strict=True))
    save_file(tensors, path)
    return path


def is_fused(folder, path, pairs, scale=ALPHA / RANK, component=None, suffix=""):
    before, after = (
        plain(folder, component),
        network(folder, f"{path}:{WEIGHT}{suffix}", component=component),
    )
    assert {f"{name}.weight" for name in pairs} <= set(before)
    for name, old in before.items():
        expected = old
        if (parts := pairs.get(name.removesuffix(".weight"))) is not None:
            expected = old + WEIGHT * scale * (parts[1].flatten(1) @ parts[0].flatten(1)).reshape(old.shape)
            assert scale == 0 or (expected - old).abs().max() > 1e-3
        assert torch.allclose(after[name], expected, atol=1e-6), name


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_alpha_is_held_in_every_family_and_layout(request, tmp_path, family, layout):
    folder = request.getfixturevalue(f"backbone_{family}")
    name, sizes = shapes(folder)
    pairs = drawn(sizes)
    assert len(pairs) >= 3
    is_fused(folder, written(tmp_path / "style.safetensors", pairs, LAYOUTS[layout], name), pairs)


# Layouts of one family


@pytest.mark.parametrize("family", ["sdxl", "modelscope"])
@pytest.mark.parametrize("prefix", ["unet.", ""])
@pytest.mark.parametrize("alpha", ["{m}_lora.alpha", "{m}_lora.down.weight.alpha", "{m}.alpha"])
def test_alpha_is_held_by_a_unet_s_processors(request, tmp_path, family, prefix, alpha):
    folder = request.getfixturevalue(f"backbone_{family}")
    _, sizes = shapes(folder)
    pairs = drawn(sizes)
    old = {
        re.sub(r"(attn\d)\.", r"\1.processor.", module).replace("to_out.0", "to_out"): parts
        for module, parts in pairs.items()
    }
    layout = tuple(f"{prefix}{key}" for key in ("{m}_lora.down.weight", "{m}_lora.up.weight", alpha))
    is_fused(folder, written(tmp_path / "style.safetensors", old, layout), pairs)


def sgm(module, layers):
    """A module of SDXL's UNet by the name that it has in Stability's own code."""
    side, block, rest = re.fullmatch(r"(down|mid|up)_block(?:s\.(\d+))?\.(.*)", module).groups()
    _, layer, rest = rest.split(".", 2)
    if side == "mid":
        return f"middle_block.1.{rest}"
    place = int(block) * (layers + 1) + int(layer)
    return f"input_blocks.{place + 1}.1.{rest}" if side == "down" else f"output_blocks.{place}.1.{rest}"


def test_alpha_is_held_by_kohya_s_own_keys_of_sdxl(backbone_sdxl, tmp_path):
    config = json.loads((backbone_sdxl / "unet" / "config.json").read_text())
    _, sizes = shapes(backbone_sdxl)
    pairs = drawn(sizes)
    theirs = {sgm(module, config["layers_per_block"]): parts for module, parts in pairs.items()}
    path = written(tmp_path / "style.safetensors", theirs, LAYOUTS["kohya"])
    save_file(
        load_file(path) | {f"lora_te1_x.{end}": torch.ones(2, 2) for end in ("lora_down.weight", "lora_up.weight")},
        path,
    )
    is_fused(backbone_sdxl, path, pairs)


@pytest.mark.parametrize("layout", ["ComfyUI", "ComfyUI, down and up", "kohya"])
def test_alpha_is_held_by_wan_s_own_names(backbone_wan, tmp_path, layout):
    """The converter of kohya's keys asks for every layer of a block, and for an alpha of each."""
    found = load_file(backbone_wan / "transformer" / "diffusion_pytorch_model.safetensors")
    ends = r"blocks\.\d+\.(attn\d\.to_(q|k|v|out\.0)|ffn\.net\.(0\.proj|2))\.weight"
    pairs = drawn({key.removesuffix(".weight"): each.shape for key, each in found.items() if re.fullmatch(ends, key)})
    names = {"attn1": "self_attn", "attn2": "cross_attn", "to_out.0": "o", "to_": "", "net.0.proj": "0", "net.2": "2"}
    theirs = {re.sub("|".join(names), lambda m: names[m[0]], module): parts for module, parts in pairs.items()}
    is_fused(backbone_wan, written(tmp_path / "style.safetensors", theirs, LAYOUTS[layout]), pairs)
    bare = {key: each for key, each in load_file(tmp_path / "style.safetensors").items() if not key.endswith(".alpha")}
    save_file(bare, tmp_path / "bare.safetensors")
    is_fused(backbone_wan, tmp_path / "bare.safetensors", pairs, 1.0)


@pytest.mark.parametrize(
    ("family", "module", "layout"),
    [
        ("flux", "double_blocks.0.img_attn.qkv", "kohya"),
        ("flux", "double_blocks.0.img_attn.qkv", "ComfyUI, down and up"),
        ("hunyuan", "double_blocks.0.img_attn_qkv", "ComfyUI"),
        ("hunyuan", "double_blocks.0.img_attn_qkv", "diffusers"),
        ("hunyuan", "double_blocks.0.img_attn_qkv", "without a prefix"),
    ],
)
def test_alpha_is_held_where_one_change_becomes_three(request, tmp_path, family, module, layout):
    folder = request.getfixturevalue(f"backbone_{family}")
    out, into = shapes(folder)[1]["transformer_blocks.0.attn.to_q"]
    down, up = drawn({module: (3 * out, into)})[module]
    path = written(tmp_path / "style.safetensors", {module: (down, up)}, LAYOUTS[layout])
    parts = up.split(out)
    is_fused(
        folder, path,
        {f"transformer_blocks.0.attn.to_{name}": (down, part) for name, part in zip("qkv", parts, strict=True)},
    )  # fmt: skip


def test_a_convolution_is_changed_too(backbone_sdxl, tmp_path):
    shape = network(backbone_sdxl)["conv_in.weight"].shape
    pairs = {"conv_in": (torch.randn(RANK, *shape[1:]), torch.randn(shape[0], RANK, 1, 1))}
    is_fused(backbone_sdxl, written(tmp_path / "style.safetensors", pairs, LAYOUTS["kohya"]), pairs)


def test_alpha_is_multiplied_into_half_precision_in_float32(backbone_flux, tmp_path):
    pairs = {name: (down.bfloat16(), up.bfloat16()) for name, (down, up) in drawn(shapes(backbone_flux)[1]).items()}
    exact = {name: (down.float(), up.float()) for name, (down, up) in pairs.items()}
    is_fused(backbone_flux, written(tmp_path / "style.safetensors", pairs, LAYOUTS["diffusers"]), exact)


# Two networks


def test_each_network_takes_its_own_part_of_one_file(backbone_a14b, tmp_path):
    _, sizes = shapes(backbone_a14b)
    high, low = drawn(sizes), drawn(sizes, seed=1)
    one = written(tmp_path / "high.safetensors", high, LAYOUTS["diffusers"])
    two = written(tmp_path / "low.safetensors", low, LAYOUTS["diffusers"], "transformer_2", 2 * ALPHA)
    both = tmp_path / "both.safetensors"
    save_file(load_file(one) | load_file(two), both)
    is_fused(backbone_a14b, both, high)
    is_fused(backbone_a14b, both, low, 2 * ALPHA / RANK, "transformer_2")
    is_fused(backbone_a14b, both, low, 2 * ALPHA / RANK, "transformer_2", "@transformer_2")
    is_fused(backbone_a14b, both, {}, component="transformer_2", suffix="@transformer")
    is_fused(backbone_a14b, two, {})
    is_fused(backbone_a14b, two, low, 2 * ALPHA / RANK, "transformer_2")
    refused(backbone_a14b, f"{two}@transformer", match="holds no change of transformer: leave it out")


def test_each_network_has_its_own_alpha_in_the_metadata(backbone_a14b, tmp_path):
    pairs = drawn(shapes(backbone_a14b)[1])
    path = tmp_path / "both.safetensors"
    factors = load_file(written(path, pairs, LAYOUTS["diffusers"])) | load_file(
        written(path, pairs, LAYOUTS["diffusers"], "transformer_2")
    )
    metadata = {"transformer.lora_alpha": 6, "transformer_2.lora_alpha": 12}
    factors = {key: each for key, each in factors.items() if not key.endswith(".alpha")}
    save_file(factors, path, {"lora_adapter_metadata": json.dumps(metadata)})
    is_fused(backbone_a14b, path, pairs, 6 / RANK)
    is_fused(backbone_a14b, path, pairs, 12 / RANK, "transformer_2")


# Faults


def refused(folder, *texts, match):
    with pytest.raises(InputError, match=match) as caught:
        network(folder, *texts)
    assert "\n" not in str(caught.value)


def test_a_file_for_two_networks_is_refused_by_a_model_of_one(backbone_wan, tmp_path):
    path = written(tmp_path / "low.safetensors", drawn(shapes(backbone_wan)[1]), LAYOUTS["diffusers"], "transformer_2")
    refused(backbone_wan, str(path), match=r"is for two networks, and random-wan has one: give a LoRA of one")


@pytest.mark.parametrize("family", ["wan", "flux", "sdxl"])
def test_an_alpha_of_no_change_and_one_that_is_no_number_are_refused(request, tmp_path, family):
    folder = request.getfixturevalue(f"backbone_{family}")
    name, sizes = shapes(folder)
    path = written(tmp_path / "style.safetensors", drawn(sizes), LAYOUTS["diffusers"], name)
    good = load_file(path)
    save_file(good | {f"{name}.elsewhere.alpha": torch.tensor(1.0)}, path)
    refused(folder, str(path), match=r"elsewhere\.alpha' belongs to no change: download it again")
    key = next(key for key in good if key.endswith(".alpha"))
    save_file(good | {key: torch.ones(2)}, path)
    refused(folder, str(path), match=r"\.alpha' is no number: download it again")
    save_file({each: part for each, part in good.items() if each != key.replace(".alpha", ".lora_B.weight")}, path)
    refused(folder, str(path), match="belongs to no change")
    save_file(good | {key.replace(".alpha", ".lora_A.weight"): torch.tensor(1.0)}, path)
    refused(folder, str(path), match="are no matrices")


METADATA = {
    "{": "lora_adapter_metadata is not JSON",
    "[" * 5000: "lora_adapter_metadata is not JSON: it is nested too deep",
    "[1]": "lora_adapter_metadata holds no mapping",
    '{"transformer.lora_alpha": "8"}': "the alpha of 'lora_alpha' is no number",
    '{"transformer.lora_alpha": true}': "the alpha of 'lora_alpha' is no number",
    '{"transformer.lora_alpha": NaN}': "the alpha of 'lora_alpha' is no number",
    '{"transformer.lora_alpha": 1' + "0" * 400 + "}": "the alpha of 'lora_alpha' is no number",
    '{"transformer.lora_alpha": 8, "transformer.alpha_pattern": [1]}': "alpha_pattern holds no mapping",
    '{"transformer.lora_alpha": 8, "transformer.alpha_pattern": {"to_q": null}}': "the alpha of 'to_q' is no number",
    '{"transformer.lora_alpha": 8, "transformer.alpha_pattern": {"(": 4}}': r"alpha_pattern '\(' is no module's name",
    '{"transformer.lora_alpha": 8, "transformer.alpha_pattern": {"(a+)+$": 4}}': "is no module's name",
}


@pytest.mark.parametrize("said", METADATA)
@pytest.mark.parametrize("beside", [False, True])
def test_metadata_of_a_file_is_not_trusted(backbone_wan, tmp_path, said, beside):
    path = written(tmp_path / "style.safetensors", drawn(shapes(backbone_wan)[1]), LAYOUTS["diffusers"])
    factors = {key: each for key, each in load_file(path).items() if not key.endswith(".alpha")}
    save_file(factors, path, None if beside else {"lora_adapter_metadata": said})
    if beside:
        (tmp_path / "adapter_config.json").write_text(said.replace("transformer.", ""))
    match = METADATA[said].replace("lora_adapter_metadata ", "adapter_config.json' " if beside else "")
    refused(backbone_wan, str(path), match=match)


def test_an_alpha_pattern_is_a_module_s_name_or_its_end(backbone_wan, tmp_path):
    pairs = drawn(shapes(backbone_wan)[1])
    path = written(tmp_path / "style.safetensors", pairs, LAYOUTS["diffusers"])
    factors = {key: each for key, each in load_file(path).items() if not key.endswith(".alpha")}
    patterns = {"blocks.0.attn1.to_q": 9, "to_q": 6, "^to_v": 30, "q": 60, "attn1\\.to_out\\.0": 12}
    said = {"transformer.lora_alpha": 3, "transformer.alpha_pattern": patterns}
    save_file(factors, path, {"lora_adapter_metadata": json.dumps(said)})

    def scale(module):
        if module == "blocks.0.attn1.to_q":
            return 3.0
        return 2.0 if module.endswith(".to_q") else 4.0 if module.endswith("attn1.to_out.0") else 1.0

    is_fused(backbone_wan, path, {name: (down, scale(name) * up) for name, (down, up) in pairs.items()}, 1.0)
