"""AnyFlow against diffusers' own pipeline in few steps, its seam for intervals, its recorder, and edits with it."""

import json
from itertools import pairwise

import diffusers
import numpy as np
import pytest
import torch
import yaml
from diffusers import AnyFlowPipeline
from safetensors.torch import save_file

import flowedit
from flowedit.backbones import families
from flowedit.backbones.adapter import Adapter
from flowedit.backbones.weights import asked
from flowedit.cli import main as cli
from flowedit.config.compose import compose
from flowedit.config.compose import options as modes
from flowedit.editors.spec import check_whole_steps
from flowedit.flow import schedule, solvers, windows
from flowedit.flow.intervals import on_grid
from flowedit.inspection import study
from flowedit.messages import InputError
from flowedit.networks import recorder
from flowedit.pipeline.notices import start
from flowedit.pipeline.plan import brief, grid_of

FOX = "A red fox is lying down."
ONE = {"source_guidance_scale": 1.0, "target_guidance_scale": 1.0}


def load(folder, **options):
    return families.load(folder, **({"device": "cpu"} | options))


def noise(backbone, size=(64, 96), rows=1):
    shape = (rows, *backbone.geometry(9, size).latent)
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


# Parity with diffusers


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_few_steps_are_those_of_diffusers(backbone_anyflow, steps):
    backbone = load(backbone_anyflow)
    pipeline = AnyFlowPipeline.from_pretrained(backbone_anyflow)
    pipeline.set_progress_bar_config(disable=True)
    z = noise(backbone)
    theirs = pipeline(
        FOX, height=64, width=96, num_frames=9, num_inference_steps=steps, latents=z.clone(), output_type="latent"
    ).frames
    grid = schedule.shifted(backbone.knots, steps, backbone.spec.shift)
    assert grid == pytest.approx(pipeline.scheduler.sigmas.tolist(), abs=1e-9)
    mean = backbone.mean_velocity(backbone.embed(FOX))
    ours = solvers.solve(on_grid(mean, grid), z, grid)
    assert (ours - theirs).norm() / theirs.norm() < 1e-4
    instantaneous = solvers.solve(backbone.velocity(backbone.embed(FOX)), z, grid)
    assert (instantaneous - theirs).norm() / theirs.norm() > 1e-2
    assert backbone.evaluations == 2 * steps


def test_where_an_interval_ends_is_heeded_and_none_is_the_instant(backbone_anyflow):
    backbone = load(backbone_anyflow)
    prompt, z = backbone.embed(FOX), noise(backbone)
    mean, u = backbone.mean_velocity(prompt), backbone.velocity(prompt)
    assert torch.equal(mean(z, 0.7, 0.7), u(z, 0.7))
    ends = [mean(z, 0.7, t) for t in (0.65, 0.0)]
    assert all((each - u(z, 0.7)).norm() / each.norm() > 1e-2 for each in ends)
    assert (ends[0] - ends[1]).norm() / ends[0].norm() > 1e-2
    network = backbone.components.transformer
    raw = network(
        z.transpose(1, 2), torch.full((1, 3), 700.0), torch.full((1, 3), 200.0), prompt.embedding, return_dict=False
    )[0]
    assert torch.allclose(mean(z, 0.7, 0.2), raw.transpose(1, 2), atol=1e-6)


def test_the_end_of_an_interval_keeps_its_precision_in_bfloat16(backbone_anyflow):
    backbone, seen = load(backbone_anyflow, dtype="bfloat16"), []
    network = backbone.components.transformer
    network.register_forward_pre_hook(lambda module, args, kwargs: seen.append(kwargs["r_timestep"]), with_kwargs=True)
    backbone.mean_velocity(backbone.embed(FOX))(noise(backbone), 0.9, 0.7777)
    assert float(seen[0][0, 0]) == pytest.approx(777.7, abs=1e-3)


# On a grid


def test_a_flow_s_mean_velocities_take_any_grid_exactly():
    """dz/dt = z has mean(z, t, r) = z (e^(r - t) - 1) / (r - t): Euler down, and Uni-Inv up to where it came from."""

    def mean(z, t, t_next):
        h = torch.tensor(t_next - t, dtype=z.dtype)
        return z if h == 0 else z * torch.expm1(h) / h

    grid, z = [0.9, 0.6, 0.1, 0.0], torch.ones((1, 1, 1, 1, 1), dtype=torch.float64)
    velocity = on_grid(mean, grid)
    down = solvers.solve(velocity, z, grid)
    assert torch.allclose(down, z * torch.exp(torch.tensor(-0.9, dtype=z.dtype)), atol=1e-12)
    assert torch.equal(velocity(z, 0.5), z)  # between the grid's times it is the velocity


def test_windows_hand_the_interval_on(backbone_anyflow):
    backbone = load(backbone_anyflow)
    prompt, z = backbone.embed(FOX), noise(backbone)
    z = torch.cat([z, z], dim=2)
    seen = windows.over(backbone, windows.places(6, 3, 0.3))
    u = seen.mean_velocity(prompt)(z, 0.7, 0.1)
    assert torch.allclose(u[:, :, :1], backbone.mean_velocity(prompt)(z[:, :, :3], 0.7, 0.1)[:, :, :1], atol=1e-6)
    assert not torch.allclose(u, seen.velocity(prompt)(z, 0.7), atol=1e-3)


# The recorder


def test_maps_equal_the_materialised_softmax(backbone_anyflow, monkeypatch):
    backbone = load(backbone_anyflow)
    prompt, calls, original = backbone.embed("a red fox runs"), [], recorder.with_lse
    monkeypatch.setattr(
        recorder, "with_lse", lambda q, k, *rest: calls.append((q.clone(), k.clone())) or original(q, k, *rest)
    )
    z, plain = noise(backbone, rows=2), backbone.mean_velocity(prompt)(noise(backbone, rows=2), 0.6, 0.3)
    with backbone.record({prompt: [2, 3]}, [0.0, 0.5]) as maps:
        assert torch.equal(backbone.mean_velocity(prompt)(z, 0.6, 0.3), plain)
    found = maps.take(prompt)
    exact = [(q.double() @ k.double().transpose(-1, -2) / 4).softmax(-1) for q, k in calls]
    want = torch.stack([each[..., [2, 3]].mean((1, 3)) for each in exact]).mean(0)
    want = want.view(2, 1, 3, 4, 6).repeat_interleave(2, 3).repeat_interleave(2, 4)
    assert len(calls) == 2
    assert (found - want).abs().max() < 1e-6
    assert found.std() > 1e-7


# Edits

EDIT = {
    "source": "a red square moves",
    "target": "a blue panda moves",
    "source_words": "square",
    "target_words": "panda",
    "steps": 4,
    "strength": 1.0,
    "size": "96x64",
    "frames": 9,
    "cuts": "none",
    "runtime.device": "cpu",
}


@pytest.mark.parametrize("mode", ["inversion_free", "random_noise", "inversion"])
def test_every_mode_edits_in_four_steps(backbone_anyflow, clip_file, tmp_path, mode):
    made = flowedit.edit(clip_file, **EDIT, **ONE, mode=mode, backbone=backbone_anyflow, out=tmp_path / mode)
    told = yaml.safe_load((tmp_path / mode / "run.yaml").read_text())
    assert len(told["times"]) == 5
    assert made.mask is not None
    assert (made.latents - made.source_latents).abs().max() > 1e-3
    assert told["network_evaluations"] == {"inversion_free": 8, "random_noise": 4, "inversion": 9}[mode]


def test_an_edit_takes_mean_velocities(backbone_anyflow, clip_file, tmp_path, monkeypatch):
    seen, own = [], Adapter.mean_velocity

    def noted(self, *prompt):
        mean = own(self, *prompt)
        return lambda z, t, t_next: seen.append((t, t_next)) or mean(z, t, t_next)

    monkeypatch.setattr(Adapter, "mean_velocity", noted)
    made = flowedit.edit(clip_file, **EDIT, **ONE, backbone=backbone_anyflow, out=tmp_path / "edit")
    times = made.run["times"]
    assert [(round(t, 9), round(r, 9)) for t, r in seen[::2]] == list(pairwise(times))
    assert seen[::2] == seen[1::2]


def test_guidance_is_in_the_weights_so_scales_are_one(backbone_anyflow, clip_file, tmp_path):
    with pytest.raises(InputError, match="was distilled to run without guidance") as caught:
        flowedit.edit(clip_file, **EDIT, target_guidance_scale=2, backbone=backbone_anyflow, out=tmp_path / "edit")
    assert "source_guidance_scale=1" in str(caught.value)
    assert not (tmp_path / "edit").exists()


def test_what_it_cannot_do_is_refused(backbone_anyflow, clip_file, tmp_path):
    options = {**EDIT, **ONE, "backbone": backbone_anyflow, "out": tmp_path / "edit"}
    with pytest.raises(InputError, match="region"):
        flowedit.edit(clip_file, **options, **{"mode.region": True})


def test_a_control_of_attention_moves_the_edit(backbone_anyflow, clip_file, tmp_path):
    options = {**EDIT, **ONE, "backbone": backbone_anyflow}
    plain = flowedit.edit(clip_file, **options, out=tmp_path / "plain").latents
    held = flowedit.edit(clip_file, **options, attention="values", out=tmp_path / "held").latents
    assert not torch.allclose(plain, held, atol=1e-4)


@pytest.mark.parametrize("solver", ["euler", "uni_inv"])
def test_a_way_up_by_another_solver_than_uni_inv_is_said(backbone_anyflow, clip_file, tmp_path, solver):
    options = {**EDIT, **ONE, "backbone": backbone_anyflow, "mode.solver": solver}
    made = flowedit.edit(clip_file, **options, mode="inversion", out=tmp_path / "edit")
    said = [text for text in made.run["notices"] if "mode.solver" in text and "uni_inv" in text]
    assert len(said) == (solver == "euler")


@pytest.mark.parametrize(("mode", "solver"), [
    *(("inversion", name) for name in ("midpoint", "heun", "fireflow")),
    *(("random_noise", name) for name in ("midpoint", "heun", "fireflow")),
    ("rf_solver_edit", None),
    ("adaedit", None),
])  # fmt: skip
def test_solvers_that_mean_velocities_make_worse_are_refused(backbone_anyflow, clip_file, tmp_path, mode, solver):
    options = {**EDIT, **ONE, "backbone": backbone_anyflow, "mode": mode, "out": tmp_path / "edit"}
    with pytest.raises(InputError, match=r"knows mean velocities of whole steps, and mode\.solver=") as caught:
        flowedit.edit(clip_file, **options, **({"mode.solver": solver} if solver else {}))
    assert "\n" not in str(caught.value)
    assert ("uni_inv" in str(caught.value)) == (mode != "random_noise")
    assert not (tmp_path / "edit").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"mode": "streamgve"}, r"mode=streamgve needs those of an instant: choose one of the modes .*inversion_free"),
        ({"mode": "rf_inversion", "mode.stochastic": True}, r"mode\.stochastic=true .*: set mode\.stochastic=false$"),
        ({"mode.decoupling": 0.01}, r"mode\.decoupling=0\.01 .*: set mode\.decoupling=0$"),
        ({"mode": "dynaedit", "mode.select_steps": 2}, r"mode\.select_steps=2 .*: set mode\.select_steps=0$"),
    ],
)
def test_what_needs_the_velocity_of_an_instant_is_refused_before_a_model_loads(clip_file, tmp_path, options, said):
    with pytest.raises(InputError, match=f"^{STUDENTS[0]} knows mean velocities of whole steps, and {said}"):
        flowedit.edit(clip_file, **EDIT, **ONE, backbone=STUDENTS[0], out=tmp_path / "edit", **options)
    check_whole_steps("it", compose({"mode": "rf_inversion"}).mode, 4)
    assert not (tmp_path / "edit").exists()


def test_a_clip_from_text_is_refused_by_such_a_solver_too(backbone_anyflow, tmp_path):
    options = {"steps": 2, "size": "96x64", "frames": 9, "target_guidance_scale": 1.0, "mode.solver": "heun"}
    with pytest.raises(InputError, match=r"mode\.solver=heun looks elsewhere: set mode\.solver=euler$"):
        flowedit.generate(FOX, backbone=backbone_anyflow, out=tmp_path / "made", **options)


def test_a_mode_that_goes_up_by_uni_inv_of_itself_is_not_said_to_be_off(backbone_anyflow):
    spec = load(backbone_anyflow).spec
    said = {
        mode: start.of_means(brief(compose({"mode": mode, "source": "a", "target": "b"})), spec)
        for mode in ("uniedit_flow", "steerflow", "flowopt", "dnaedit", "rf_inversion", "ddim_inversion")
    }
    assert [mode for mode, texts in said.items() if texts] == ["rf_inversion", "ddim_inversion"]


# What conf says of its releases

STUDENTS = ("anyflow-wan2.1-t2v-1.3b", "anyflow-wan2.1-t2v-14b", "flux1-schnell")


@pytest.mark.parametrize("mode", modes("mode"))
@pytest.mark.parametrize("name", STUDENTS)
def test_every_mode_of_a_few_step_student_runs_its_scheduler_s_own_times(name, mode):
    settings = compose({"backbone": name, "mode": mode, "source": "a fox", "target": "a panda"})
    kind, config = families.RELEASES[name].scheduler
    scheduler = getattr(diffusers, kind).from_config(config)
    sigmas = np.linspace(1.0, 0.25, 4)
    scheduler.set_timesteps(**({"num_inference_steps": 4} if name.startswith("anyflow") else {"sigmas": sigmas}))
    ours = grid_of(settings, families.times_of(settings.backbone))
    assert ours == pytest.approx(scheduler.sigmas.tolist(), abs=1e-6)
    assert (settings.source_guidance_scale, settings.target_guidance_scale) == (1.0, 1.0)


def test_its_inversion_goes_up_by_the_inverse_of_itself():
    for name in STUDENTS[:2]:
        assert compose({"backbone": name, "mode": "inversion"}).mode.solver == "uni_inv"
        assert compose({"backbone": name, "mode": "inversion", "mode.solver": "euler"}).mode.solver == "euler"
    assert compose({"backbone": STUDENTS[0], "mode": "inversion_free", "mode.grid": "uniform"}).mode.grid == "uniform"


# Inspection


def test_a_clip_that_inspection_makes_takes_mean_velocities(backbone_anyflow, tmp_path, monkeypatch):
    seen, own = [], Adapter.mean_velocity

    def noted(self, *prompt):
        mean = own(self, *prompt)
        return lambda z, t, t_next: seen.append((t, t_next)) or mean(z, t, t_next)

    monkeypatch.setattr(Adapter, "mean_velocity", noted)
    line = ["inspect", "--prompt", "a red fox", "--size", "96x64", "--frames", "9"]
    assert cli.main([*line, "--backbone", str(backbone_anyflow), "--quiet", "--out", str(tmp_path / "out")]) == 0
    steps = seen[: study.STEPS]
    assert all(t_next < t for t, t_next in steps)
    assert steps[-1][1] == 0.0
    assert [t for t, _ in steps[1:]] == [t_next for _, t_next in steps[:-1]]


def test_a_lora_of_wan_goes_into_it(backbone_anyflow, tmp_path):
    names, made = ("blocks.0.attn1.to_q", "blocks.1.ffn.net.2"), torch.Generator().manual_seed(0)
    network = load(backbone_anyflow).components.transformer
    wanted, tensors = {}, {}
    for name in names:
        weight = network.get_parameter(f"{name}.weight")
        down, up = (torch.randn(shape, generator=made) for shape in ((2, weight.shape[1]), (weight.shape[0], 2)))
        tensors |= {f"transformer.{name}.lora_A.weight": down, f"transformer.{name}.lora_B.weight": up}
        wanted[name] = weight + 0.5 * (up @ down)
    save_file(tensors, tmp_path / "wan.safetensors")
    fused = load(backbone_anyflow, overlay=asked.overlay([f"{tmp_path / 'wan.safetensors'}:0.5"]))
    for name in names:
        assert torch.allclose(fused.components.transformer.get_parameter(f"{name}.weight"), wanted[name], atol=1e-6)


def test_several_processes_and_pictures_as_a_start_are_refused(backbone_anyflow, copied):
    network = load(backbone_anyflow)
    with pytest.raises(InputError, match=r"runs in one process: leave runtime\.context_parallel out"):
        network.architecture.plan(network.components.transformer)
    folder = copied(backbone_anyflow)
    path = folder / "transformer" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"image_dim": 1280}))
    with pytest.raises(InputError, match="is an image-to-video AnyFlow; a text-to-video one is needed"):
        load(folder)
