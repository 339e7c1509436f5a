"""Weights of a variant, in shards, and from one file: safetensors in 8 or 16 bits, GGUF; and what is refused."""

import importlib.util
import json
import re
import shutil

import pytest
import torch
from diffusers import WanTransformer3DModel
from safetensors.torch import load_file, save_file

from flowedit.backbones import families
from flowedit.backbones.random_weights import save_random
from flowedit.backbones.weights import asked, single_file
from flowedit.config import compose
from flowedit.messages import FileMissingError, InputError
from flowedit.pipeline import resume, run
from flowedit.pipeline.plan import brief

OWN = (("attn1.to_q", "self_attn.q"), ("attn1.to_k", "self_attn.k"), ("attn1.to_v", "self_attn.v"),
       ("attn1.to_out.0", "self_attn.o"), ("attn1.norm_q", "self_attn.norm_q"), ("attn1.norm_k", "self_attn.norm_k"),
       ("attn2.to_q", "cross_attn.q"), ("attn2.to_k", "cross_attn.k"), ("attn2.to_v", "cross_attn.v"),
       ("attn2.to_out.0", "cross_attn.o"), ("attn2.norm_q", "cross_attn.norm_q"), ("attn2.norm_k", "cross_attn.norm_k"),
       ("ffn.net.0.proj", "ffn.0"), ("ffn.net.2", "ffn.2"), ("norm2", "norm3"),
       ("condition_embedder.time_embedder.linear_1", "time_embedding.0"),
       ("condition_embedder.time_embedder.linear_2", "time_embedding.2"),
       ("condition_embedder.text_embedder.linear_1", "text_embedding.0"),
       ("condition_embedder.text_embedder.linear_2", "text_embedding.2"),
       ("condition_embedder.time_proj", "time_projection.1"), ("proj_out", "head.head"))  # fmt: skip


def weights_of(folder):
    return load_file(folder / "transformer" / "diffusion_pytorch_model.safetensors")


def own_names(found):
    """Wan's own names, which other programs share its weights under."""
    named = {}
    for key, each in found.items():
        renamed = "head.modulation" if key == "scale_shift_table" else key.replace("scale_shift_table", "modulation")
        for theirs, own in OWN:
            if f".{theirs}." in f".{renamed}":
                renamed = renamed.replace(theirs, own)
                break
        named[renamed] = each
    return named


@pytest.fixture(scope="module")
def bare(backbone_wan, tmp_path_factory):
    """The folder without the transformer's weights."""
    folder = tmp_path_factory.mktemp("bare") / "wan"
    shutil.copytree(backbone_wan, folder)
    (folder / "transformer" / "diffusion_pytorch_model.safetensors").unlink()
    return folder


def load(folder, path=None, *loras, **options):
    over = asked.overlay(loras, None if path is None else str(path))
    return families.load(folder, device="cpu", overlay=over, **options)


def velocity(backbone):
    z = torch.randn((1, *backbone.geometry(9, (64, 96)).latent), generator=torch.Generator().manual_seed(0))
    return backbone.velocity(backbone.embed("a fox"))(z, 0.5)


@pytest.mark.parametrize("names", ["diffusers", "its own"])
def test_a_single_file_is_the_folder_to_the_bit(backbone_wan, bare, tmp_path, names):
    found = weights_of(backbone_wan)
    path = tmp_path / "wan.safetensors"
    save_file(found if names == "diffusers" else own_names(found), path)
    assert torch.equal(velocity(load(bare, path)), velocity(load(backbone_wan)))


def test_eight_bits_are_taken_times_their_scales(backbone_wan, bare, tmp_path):
    found, made, expected = weights_of(backbone_wan), {}, {}
    for key, each in own_names(found).items():
        made[key] = expected[key] = each
        if each.ndim == 2 and key.startswith("blocks."):
            scale = each.abs().max() / 448
            made[key] = (each / scale).to(torch.float8_e4m3fn)
            made[f"{key.removesuffix('weight')}scale_weight"] = scale
            expected[key] = made[key].float() * scale
    made["scaled_fp8"] = torch.zeros(2).to(torch.float8_e4m3fn)
    save_file(made, tmp_path / "fp8.safetensors")
    save_file(expected, tmp_path / "exact.safetensors")
    u = velocity(load(bare, tmp_path / "fp8.safetensors"))
    exact = velocity(load(bare, tmp_path / "exact.safetensors"))
    assert (u - exact).norm() / exact.norm() < 1e-5
    whole = velocity(load(backbone_wan))
    assert 1e-4 < (u - whole).norm() / whole.norm() < 0.1


@pytest.fixture(scope="module")
def gguf_file(backbone_wan, tmp_path_factory):
    """Matrices in Q8_0, the rest whole."""
    gguf = pytest.importorskip("gguf")
    path = tmp_path_factory.mktemp("gguf") / "wan-q8.gguf"
    writer = gguf.GGUFWriter(path, "wan")
    for key, each in own_names(weights_of(backbone_wan)).items():
        small = each.ndim == 2 and each.shape[-1] % 32 == 0 and key.startswith("blocks.")
        kind = gguf.GGMLQuantizationType.Q8_0
        data = gguf.quants.quantize(each.numpy(), kind) if small else each.numpy()
        writer.add_tensor(key, data, raw_dtype=kind if small else None)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.mark.parametrize("offload", ["none", "blocks"])
def test_gguf_is_within_its_precision(backbone_wan, bare, gguf_file, offload):
    backbone, whole = load(bare, gguf_file, offload=offload), velocity(load(backbone_wan))
    off = (velocity(backbone) - whole).norm() / whole.norm()
    assert 1e-5 < off < 0.02
    assert single_file.quantised(backbone.components.transformer)
    assert backbone.checkpoint.parameters("transformer") == sum(
        each.numel() for each in weights_of(backbone_wan).values()
    )


def test_gguf_takes_no_other_quantisation_and_no_lora(bare, gguf_file, tmp_path):
    with pytest.raises(InputError, match=r"quantised already: leave runtime\.weights"):
        load(bare, gguf_file, weights="fp8")
    save_file({"transformer.blocks.0.attn1.to_q.lora_A.weight": torch.zeros(2, 64)}, tmp_path / "l.safetensors")
    with pytest.raises(InputError, match="cannot go into GGUF weights: give a "):
        load(bare, gguf_file, str(tmp_path / "l.safetensors"))


def test_without_its_package_gguf_says_what_to_type(bare, tmp_path, monkeypatch):
    (tmp_path / "wan.gguf").write_bytes(b"GGUF")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r'pip install "flowedit\[gguf\]"'):
        load(bare, tmp_path / "wan.gguf")


def test_a_lora_goes_into_a_single_file(backbone_wan, bare, tmp_path):
    path = tmp_path / "wan.safetensors"
    save_file(weights_of(backbone_wan), path)
    made = torch.Generator().manual_seed(0)
    down, up = torch.randn((2, 64), generator=made), torch.randn((64, 2), generator=made)
    name = "transformer.blocks.0.attn1.to_q"
    save_file({f"{name}.lora_A.weight": down, f"{name}.lora_B.weight": up}, tmp_path / "l.safetensors")
    here, there = (
        load(folder, file, str(tmp_path / "l.safetensors")) for folder, file in ((bare, path), (backbone_wan, None))
    )
    assert torch.equal(velocity(here), velocity(there))
    save_file(
        {f"{name}.lora_A.weight": down[:, :3].contiguous(), f"{name}.lora_B.weight": up}, tmp_path / "m.safetensors"
    )
    with pytest.raises(InputError, match="does not fit"):
        velocity(load(bare, path, str(tmp_path / "m.safetensors")))


def test_what_cannot_be_read_is_refused_in_one_line(backbone_wan, backbone_2b, bare, tmp_path):
    found = weights_of(backbone_wan)
    with pytest.raises(InputError, match=r"lacks transformer/.*safetensors|no safetensors weights in transformer"):
        load(bare)
    path = tmp_path / "wan.safetensors"
    save_file(found, path)
    with pytest.raises(InputError, match="diffusers reads no single file of a CogVideoXTransformer3DModel"):
        load(backbone_2b, path).components.transformer  # noqa: B018
    with pytest.raises(FileMissingError, match=r"did you mean 'wan\.safetensors'"):
        load(bare, tmp_path / "wam.safetensors")
    (tmp_path / "wan.ckpt").touch()
    with pytest.raises(InputError, match=r"is no \.safetensors or \.gguf file"):
        load(bare, tmp_path / "wan.ckpt")
    some = {key: each for key, each in found.items() if "attn1.to_q" not in key}
    one = found["proj_out.weight"]
    narrow = {key: each[..., :1].contiguous() for key, each in found.items()}
    for name, kept, match in (
        ("some", some, r"some\.safetensors' lacks \d+ of this network's \d+ weights, such as 'blocks\.0\.attn1\.to_q"),
        ("own", own_names(some), "own.* lacks .*such as 'blocks.0.attn1.to_q"),
        ("narrow", narrow, "narrow.* does not fit this network: '.*is .* in the two: it looks like Wan"),
        ("own-narrow", own_names(narrow), "does not fit this network"),
        ("lora", {"transformer.blocks.0.attn1.to_q.lora_A.weight": one}, "goes in by --lora"),
        ("other", {"weight": one}, "nobody here knows names such as 'weight'; give one of Wan"),
    ):  # fmt: skip
        save_file(kept, tmp_path / f"{name}.safetensors")
        with pytest.raises(InputError, match=match):
            load(bare, tmp_path / f"{name}.safetensors")
    (tmp_path / "cut.gguf").write_bytes(b"GGUF")
    if importlib.util.find_spec("gguf"):
        with pytest.raises(InputError, match=r"cut\.gguf' is no GGUF file"):
            load(bare, tmp_path / "cut.gguf")


WHOSE = {
    "wan": "Wan", "flux": r"FLUX\.1", "hunyuan": "HunyuanVideo", "ltx": "LTX-Video", "mochi": "Mochi", "sdxl": "SDXL",
    "modelscope": "ModelScope or Zeroscope", "anyflow": "AnyFlow", "2b": "CogVideoX",
}  # fmt: skip


def test_each_family_is_known_by_its_names_and_refused_by_others_before_any_work(tmp_path):
    """At load, by the headers alone: of each family those of two others."""
    folders = [save_random(tmp_path / kind, kind) for kind in WHOSE]
    kinds, files = [*WHOSE], [next(each.glob("[tu][rn]*/*.safetensors")) for each in folders]
    for i, (kind, folder) in enumerate(zip(kinds, folders, strict=True)):
        for j in ((i + 1) % len(kinds), (i + 4) % len(kinds)):
            with pytest.raises(InputError) as refused:
                load(folder, files[j])
            told = str(refused.value)
            if kind in ("2b", "modelscope", "anyflow"):
                assert "diffusers reads no single file of a " in told
            else:
                assert re.search(f": it looks like {WHOSE[kinds[j]]}; give one of {WHOSE[kind]}$", told)


def test_a_variant_and_shards_are_read_as_they_are(backbone_wan, tmp_path):
    whole = velocity(load(backbone_wan))
    for name, how in {"fp16": {"variant": "fp16"}, "shards": {"max_shard_size": "100KB"}}.items():
        folder = tmp_path / name
        shutil.copytree(backbone_wan, folder)
        shutil.rmtree(folder / "transformer")
        network = WanTransformer3DModel.from_pretrained(backbone_wan / "transformer")
        (network.half() if name == "fp16" else network).save_pretrained(folder / "transformer", **how)
        files = [path.name for path in (folder / "transformer").glob("*.safetensors")]
        assert all("fp16" in file or "-of-" in file for file in files)
        made = velocity(load(folder))
        assert (made - whole).norm() / whole.norm() < (1e-6 if name == "shards" else 1e-2), name


def test_it_is_an_option_of_the_backbone_and_part_of_what_a_killed_edit_asks(backbone_wan, bare, tmp_path):
    path = tmp_path / "wan.safetensors"
    save_file(weights_of(backbone_wan), path)

    def key(file):
        options = {"source": "a", "target": "b", "backbone": str(bare), "backbone.transformer": str(file)}
        settings = compose.compose({**options, "runtime.device": "cpu"})
        assert settings.backbone.transformer == str(file)
        return resume.key_of(brief(settings), run.load_backbone(settings), bare)

    first, moved = key(path), key(shutil.copy(path, tmp_path / "wan-2.safetensors"))
    other = {name: 2 * each for name, each in weights_of(backbone_wan).items()}
    save_file(other, path)
    assert key(path) != first
    assert json.dumps(moved)
