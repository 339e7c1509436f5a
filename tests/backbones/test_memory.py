"""The memory that is reckoned from a configuration, held to what is counted and to what is measured."""

import weakref
from dataclasses import replace

import fake_gpu as fake_gpu_module
import memory_table
import numpy as np
import pytest
import torch
from fake_gpu import BOTH, DEFAULT, PROMPTS, WORDS, edit, fake_gpu, released
from torch.utils._python_dispatch import TorchDispatchMode

from flowedit.backbones import families, memory, presets, shapes
from flowedit.backbones.released import RELEASES, network, save_released
from flowedit.config import compose
from flowedit.pipeline import plan
from flowedit.pipeline.plan import brief

NATIVE = {
    "cogvideox-2b": (16, 13, 60, 90),
    "cogvideox-5b": (16, 13, 60, 90),
    "cogvideox1.5-5b": (16, 22, 96, 170),
    "wan2.1-t2v-1.3b": (16, 21, 60, 104),
    "wan2.1-t2v-14b": (16, 21, 90, 160),
    "wan2.2-t2v-a14b": (16, 21, 90, 160),
    "wan2.2-ti2v-5b": (48, 31, 44, 80),
    "ltx-video": (128, 21, 16, 22),
    "hunyuan-video": (16, 33, 90, 160),
    "mochi-1": (12, 28, 60, 106),
    "anyflow-wan2.1-t2v-1.3b": (16, 21, 60, 104),
    "anyflow-wan2.1-t2v-14b": (16, 21, 90, 160),
    "flux1-dev": (16, 1, 128, 128),
    "flux1-schnell": (16, 1, 128, 128),
    "modelscope-1.7b": (4, 16, 32, 32),
    "zeroscope-v2-576w": (4, 24, 40, 72),
    "zeroscope-v2-xl": (4, 24, 72, 128),
    "sdxl-base-1.0": (4, 1, 128, 128),
}
WITHIN = 0.15


@pytest.mark.parametrize("name", RELEASES)
def test_what_is_reckoned_is_what_was_counted(name):
    """The table of backbones/README.md, which another test holds to the count itself."""
    own, counted = memory.released(name), memory_table.read()[name]
    precision = memory.precisions(own, "auto", cpu=False)
    both = 2 if shapes.of_blueprint(own, {}).guidance == "free" else 1
    two, one, streamed, streamed_one = (
        memory.totals(memory.phases(own, NATIVE[name], rows=rows, precision=precision, offload=offload))
        for offload in ("parts", "blocks")
        for rows in (both, 1)
    )
    got = {
        **two,
        "edit, 1 row": one["edit"],
        "text, streamed": streamed["text"],
        "edit, gpu_12gb": streamed["edit"],
        "edit, gpu_8gb": streamed_one["edit"],
    }
    for phase, want in counted.items():
        assert got[phase] == pytest.approx(want, rel=WITHIN), phase


@pytest.mark.parametrize("name", RELEASES)
def test_parameters_are_counted_exactly(name):
    own = memory.released(name)
    for component in (own.sheet.denoiser.folder, *own.sheet.encoders):
        parameters = {id(each): each.numel() for each in network(RELEASES[name].parts[component]).parameters()}
        rest, block, count = memory.parameters(own, component)
        assert rest + block * count == sum(parameters.values())
    autoencoder = network(RELEASES[name].parts["vae"]).parameters()
    assert own.sheet.autoencoder.weights(own.vae) == sum(each.numel() for each in autoencoder)


LAYERS = 2


def cut(drawn, *components):
    """With so many layers alone."""
    parts = {part: {**config, "num_layers": LAYERS} for part, config in drawn.parts.items() if part in components}
    return replace(drawn, parts={**drawn.parts, **parts})


@pytest.mark.parametrize(
    ("name", "frames", "size", "rows", "options"),
    [
        ("cogvideox-2b", 17, (480, 720), 0, {}),
        ("cogvideox-5b", 25, (240, 368), 1, {}),
        ("cogvideox-5b", 9, (480, 720), 0, {"draws": 3}),
        ("cogvideox1.5-5b", 33, (384, 688), 0, {}),
        ("wan2.1-t2v-1.3b", 33, (480, 832), 1, {}),
        ("wan2.1-t2v-14b", 17, (240, 416), 0, {"draws": 2}),
    ],
)
def test_another_size_length_and_number_of_rows_is_reckoned_too(tmp_path, name, frames, size, rows, options):
    with fake_gpu() as card:
        backbone = released(tmp_path, name, rows=rows, layers=LAYERS)
        shape = backbone.geometry(frames, size)
        phases = edit(card, backbone, shape, {**DEFAULT, **options}, steps=1)[2]
    own = memory.released(name)
    own = cut(own, "transformer", "text_encoder")
    draws = options.get("draws", 1)
    found = memory.totals(
        memory.phases(
            own, shape.latent, rows=rows or 2 * draws, draws=draws, precision=memory.precisions(own, "auto", cpu=False)
        )
    )
    assert found["edit"] == pytest.approx(phases["edit"]["peak_memory_mib"] / 1024, rel=WITHIN)
    assert found["text"] == pytest.approx(phases["embed"]["peak_memory_mib"] / 1024, rel=WITHIN)


SCALES = {"source_guidance_scale": 3.5, "target_guidance_scale": 10.5}


@pytest.mark.parametrize(
    ("options", "packed"),
    [
        ({}, (2, 2)),
        ({"draws": 2}, (4, 2)),
        ({"source_guidance_scale": 1.0}, (1, 3)),
        ({"target_guidance_scale": 1.0}, (1, 2)),
        ({"source_guidance_scale": 1.0, "target_guidance_scale": 1.0}, (1, 2)),
        ({"edit_strength": 2.0}, (1, 3)),
    ],
)
def test_the_rows_of_a_region_pass_are_those_that_it_packs(options, packed):
    made = brief(compose.compose({**PROMPTS, **WORDS, **SCALES, "mode.region": True, **options}))
    load = plan.load_of(made, (16, 13, 60, 90))
    assert load.packed == packed
    assert load.rows_within(0) == max(load.rows, packed[0] * packed[1])
    assert load.rows_within(1) == packed[1]
    unmasked = replace(made.settings, mask=replace(made.settings.mask, name="none"))
    assert plan.load_of(brief(unmasked), (16, 13, 60, 90)).packed == (0, 0)


@pytest.mark.parametrize(
    ("options", "rows", "objects"),
    [
        ({}, 2, 1),
        ({"source_guidance_scale": 1.0, "target_guidance_scale": 1.0}, 1, 1),
        ({"source_guidance_scale": 1.0, "target_guidance_scale": 1.0, "edit_strength": 2.0}, 2, 1),
        ({**BOTH, "target_guidance_scale": 1.0, "source_guidance_scale": 1.0, "object_guidance_scales": [5, 7]}, 2, 2),
        ({**BOTH, "source_guidance_scale": 1.0, "object_guidance_scales": [1, 1]}, 1, 2),
        ({"mode": "random_noise", "target_guidance_scale": 1.0}, 1, 1),
        ({"mask": "none"}, 2, 0),
    ],
)
def test_rows_and_objects_are_those_of_the_brief(options, rows, objects):
    made = brief(compose.compose({**PROMPTS, **WORDS, **SCALES, **options}))
    assert plan.load_of(made, (16, 13, 60, 90)) == presets.Load((16, 13, 60, 90), rows, 1, objects)


@pytest.mark.parametrize(
    ("name", "rows", "options"),
    [
        ("cogvideox-2b", 0, {}),
        ("cogvideox-5b", 1, {}),
        ("cogvideox-5b", 0, {"source_guidance_scale": 1.0}),
        ("wan2.1-t2v-1.3b", 0, {"draws": 2}),
        ("wan2.1-t2v-1.3b", 1, {}),
    ],
)
def test_the_widest_call_of_a_region_pass_is_reckoned(tmp_path, monkeypatch, name, rows, options):
    """A region that is the whole clip is the worst; a smaller one needs less."""
    peaks = {}
    chosen = {**DEFAULT, **SCALES, "mode.region": True, "user_mask": "m.mp4", **options}
    for share in (1.0, 0.2):
        monkeypatch.setattr(fake_gpu_module, "SHARE", share)
        with fake_gpu() as card:
            backbone = released(tmp_path / str(share), name, rows=rows, layers=LAYERS)
            shape = backbone.geometry(9, (480, 720))
            peaks[share] = edit(card, backbone, shape, chosen, steps=2)[2]["edit"]["peak_memory_mib"] / 1024
    own = memory.released(name)
    own = cut(own, "transformer")
    settings = compose.compose({**PROMPTS, **WORDS, **chosen})
    load = plan.load_of(brief(settings), shape.latent)
    found = presets.need(own, load, settings.runtime, presets.MemoryPreset("", "parts", rows), None).phases["edit"]
    assert found == pytest.approx(peaks[1.0], rel=WITHIN)
    assert peaks[0.2] < peaks[1.0]


@pytest.mark.parametrize("name", ["cogvideox-2b", "wan2.1-t2v-1.3b"])
@pytest.mark.parametrize("frames", [1, 9, 25])
def test_an_autoencoder_is_reckoned_by_tile_and_length(tmp_path, name, frames):
    with fake_gpu() as card:
        backbone = released(tmp_path, name, layers=1)
        size = (240, 360) if name.startswith("cog") else (256, 256)
        shape = backbone.geometry(frames, size)
        for phase in ("encode", "decode"):
            counted = memory_table.coded(card, backbone, phase, frames, shape.size)
            own = memory.released(name)
            found = memory.phases(own, shape.latent, precision=memory.precisions(own, "auto", cpu=False))
            assert sum(found[phase].values()) == pytest.approx(counted, rel=WITHIN)


class Live(TorchDispatchMode):
    """Counts the bytes of live tensors that are made inside, on the CPU, with contents."""

    def __init__(self):
        super().__init__()
        self.live = self.peak = 0
        self.seen = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for each in out if isinstance(out, (tuple, list)) else [out]:
            if isinstance(each, torch.Tensor) and func is not torch.ops.aten.detach.default:
                self.hold(each.untyped_storage(), args)
        return out

    def hold(self, storage, args):
        key, size = storage._cdata, storage.nbytes()
        given = [each for each in args if isinstance(each, torch.Tensor)]
        if key in self.seen or any(each.untyped_storage()._cdata == key for each in given):
            return
        self.seen[key] = size
        self.live += size
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self.free, key)

    def free(self, key):
        self.live -= self.seen.pop(key)


MIDDLE = {
    "CogVideoXTransformer3DModel": {"num_attention_heads": 6, "text_embed_dim": 128},
    "WanTransformer3DModel": {"num_attention_heads": 6, "ffn_dim": 1000, "text_dim": 128},
    "AutoencoderKLCogVideoX": {"block_out_channels": [16, 32, 32, 32], "norm_num_groups": 4},
    "AutoencoderKLWan": {"base_dim": 16, "num_res_blocks": 2},
    "T5EncoderModel": {"d_ff": 512, "d_model": 128, "num_heads": 8},
    "UMT5EncoderModel": {"d_ff": 512, "d_model": 128, "num_heads": 8},
}
"""Of a size between the small random checkpoints and the releases."""

COUNTED = ("transformer", "autoencoder", "text encoder", "places", "latents")
"""What is there before a call, and what an edit holds around it."""


@pytest.mark.parametrize("middle", [False, True], ids=["small", "middle"])
@pytest.mark.parametrize("name", ["cogvideox-2b", "cogvideox-5b", "cogvideox1.5-5b", "wan2.1-t2v-1.3b"])
def test_real_tensors_on_a_cpu_are_reckoned_too(tmp_path, name, middle):
    """In float32, each phase by itself, weights apart."""
    changes = {component: MIDDLE[part.kind] for component, part in RELEASES[name].parts.items()} if middle else {}
    folder = save_released(tmp_path / name, name, small=True, changes=changes)
    backbone, drawn = families.load(folder, device="cpu"), memory.of_folder(folder)
    shape = backbone.geometry(17, (64, 96))
    found = memory.phases(
        drawn, shape.latent, precision=memory.precisions(drawn, "auto", cpu=True), objects=0, cpu=True
    )
    backbone.ready()
    z, frames = torch.zeros(1, *shape.latent), np.zeros((shape.frames, *shape.size, 3), np.uint8)
    velocity = backbone.velocity(backbone.embed("a fox"), 6.0, backbone.embed(""))
    phases = {
        "encode": lambda: backbone.encode(frames),
        "decode": lambda: list(backbone.decode(z)),
        "edit": lambda: velocity(z, 0.5),
    }
    for phase, work in phases.items():
        with torch.no_grad(), Live() as live:
            work()
        reckoned = sum(size for what, size in found[phase].items() if what not in COUNTED)
        assert reckoned * memory.GIB == pytest.approx(live.peak, rel=WITHIN), phase
