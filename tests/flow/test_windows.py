"""Windows of a long clip: their places and weights, the field and the maps made of them, and that the edit is one."""

import math
from dataclasses import replace
from itertools import pairwise

import av
import pytest
import torch
import yaml
from edits import steered
from fields import ToyBackbone
from hypothesis import given, settings
from hypothesis import strategies as st

import flowedit
from flowedit.config import compose
from flowedit.editors.averaging import average_of
from flowedit.editors.corrections import decoupled, direction_aware
from flowedit.editors.straight.inversion_free import inversion_free
from flowedit.flow import noise, windows
from flowedit.media import probe
from flowedit.pipeline import generation, plan
from flowedit.pipeline.api import settings_of
from flowedit.pipeline.notices.shape import of_shape
from flowedit.pipeline.velocities import bind

CPU = torch.device("cpu")
BASE = {
    "source": "a red fox runs",
    "target": "a big panda runs",
    "source_words": "fox",
    "target_words": "panda",
    "steps": 4,
}


@st.composite
def clips(draw):
    multiple = draw(st.integers(1, 3))
    length, window = (multiple * draw(st.integers(1, n)) for n in (60, 20))
    return length, window, draw(st.integers(0, 95)) / 100, multiple


@settings(deadline=None)
@given(clips())
def test_places_are_equal_cover_the_clip_and_overlap_as_asked(clip):
    length, window, overlap, multiple = clip
    found = windows.places(length, window, overlap, multiple)
    assert (found[0][0], found[-1][1]) == (0, length)
    assert {end - start for start, end in found} == {min(window, length)}
    assert all(start % multiple == 0 for start, _ in found)
    apart = [b - a for (a, _), (b, _) in pairwise(found)]
    most = max(multiple, window * (1 - overlap) + 1e-6)
    assert all(0 < step <= most for step in apart)
    fewest = 1 + math.ceil((length - window) / max(multiple, multiple * math.floor(most / multiple)))
    assert len(found) == max(1, fewest)


@settings(deadline=None)
@given(clips())
def test_weights_are_a_partition_of_unity_and_fall_to_a_window_s_ends(clip):
    length, *rest = clip
    found = windows.places(length, *rest)
    total, count = torch.zeros(length), torch.zeros(length)
    for (start, end), weight in zip(found, windows.weights(found), strict=True):
        assert weight.shape == (1, 1, end - start, 1, 1)
        assert (weight > 0).all()
        total[start:end] += weight.flatten()
        count[start:end] += 1
    assert torch.allclose(total, torch.ones(length), atol=1e-6)
    for (start, end), weight in zip(found, windows.weights(found), strict=True):
        assert (weight.flatten()[count[start:end] == 1] == 1).all()


def test_the_ramp_of_two_windows_is_a_raised_cosine():
    first, second = (w.flatten() for w in windows.weights([(0, 10), (6, 16)]))
    expected = [math.sin(math.pi / 2 * (k + 0.5) / 4) ** 2 for k in range(4)]
    assert second.tolist() == pytest.approx([*expected, *[1] * 6])
    assert first.tolist() == pytest.approx([*[1] * 6, *reversed(expected)])


@pytest.mark.parametrize(("bad", "said"), [((5, 3, 1.0, 1), "overlap 1.0"), ((5, 4, 0.5, 2), "multiples of 2")])
def test_places_that_cannot_be_are_refused(bad, said):
    with pytest.raises(ValueError, match=said):
        windows.places(*bad)


Z = torch.randn((2, 3, 11, 4, 5), generator=torch.Generator().manual_seed(0))
PLACES = windows.places(11, 4, 0.5)


def test_a_field_that_is_pointwise_in_time_is_itself():
    def field(z, t):
        return torch.tanh(3 * z + z.roll(1, 4)) - t * z

    assert torch.allclose(windows.windowed(field, PLACES, CPU)(Z, 0.3), field(Z, 0.3), atol=1e-6)


def test_a_window_sees_its_own_frames_and_counts_by_its_weight():
    seen = []

    def field(z, t):
        seen.append(z)
        return torch.full_like(z, float(len(seen)))

    u = windows.windowed(field, PLACES, CPU)(Z, 0.3)
    assert all(torch.equal(z, Z[:, :, a:b]) for z, (a, b) in zip(seen, PLACES, strict=True))
    expected = torch.zeros(11)
    for i, ((a, b), weight) in enumerate(zip(PLACES, windows.weights(PLACES), strict=True)):
        expected[a:b] += (i + 1) * weight.flatten()
    assert torch.allclose(u, expected.view(1, 1, -1, 1, 1).expand_as(u))


def test_maps_are_the_clip_s_and_the_mean_over_its_calls():
    backbone = ToyBackbone()
    prompt, other = backbone.embed("a fox"), backbone.embed("a bear")
    whole, pieces = ToyBackbone(), windows.over(backbone, PLACES)
    found = []
    for some in (whole, pieces):
        with some.record({prompt: [[1]]}, [0.6]) as maps:
            velocity, silent = some.velocity(prompt), some.velocity(other)
            assert maps.take(prompt) is None
            velocity(Z, 0.7)
            silent(Z, 0.7)
            velocity(2 * Z, 0.2)
            found.append(maps.take(prompt))
            assert maps.take(prompt) is None
            assert maps.take(other) is None
    assert found[1].shape == (2, 1, 11, 4, 5)
    assert torch.allclose(*found, atol=1e-5)


def test_one_window_is_the_backbone_itself():
    backbone = ToyBackbone()
    assert windows.over(backbone, windows.places(5, 9, 0.5)) is backbone


X = torch.randn((1, 3, 9, 16, 24), generator=torch.Generator().manual_seed(1))


def edited(backbone, user=None, **options):
    chosen = compose.compose(BASE | options)
    done = steered(chosen, backbone, X, user=user)
    return done.z, done.mask, done.evaluations


@pytest.mark.parametrize(
    "options",
    [
        {"mode": "random_noise", "mask.smooth_frames": 1.0},
        {"mode": "inversion", "mask.preserve": True},
        {"mode": "inversion_free", "draws": 2, "mask.over_draws": "union"},
        {"mode": "flowdirector_v1", "steps": 3},
        {"mode": "flowdirector_v2", "steps": 5, "mode.fixed_noise_steps": 2},
        {"mode": "flowalign"},
    ],
    ids=lambda options: options["mode"],
)
def test_thresholds_means_over_time_and_cosines_are_the_clip_s(options):
    """A field that is pointwise in time tells no windows apart, so that whatever differed would be an editor's."""
    whole, mask, alone = edited(ToyBackbone(), window="whole", **options)
    pieces, found, many = edited(ToyBackbone(), window=9, **options)
    assert len(plan.windows_of(compose.compose(BASE | options | {"window": 9}), ToyBackbone.spec, 9)) == 4
    assert many == 4 * alone
    assert alone == plan.network_evaluations(compose.compose(BASE | options))
    assert torch.allclose(pieces, whole, atol=2e-3, rtol=1e-3)
    assert (whole - X).abs().max() > 0.1
    if mask is not None:
        assert torch.allclose(found, mask, atol=1e-4)


def test_an_edit_window_by_window_would_be_another():
    """What the test above could not see otherwise: the decoupling's mean over a window is not that over the clip."""
    options = {"mode": "flowdirector_v2", "steps": 5, "mask": "none", "mode.decoupling_appearance": 1.0}
    whole = edited(ToyBackbone(), window="whole", **options)[0]
    chosen = compose.compose(BASE | options | {"window": "whole"})
    eps = noise.gaussian(0, tuple(X.shape))
    parts = []
    for a, b in windows.places(9, 3, 0.0):
        grid = plan.make_grid(chosen, ToyBackbone())
        pair = bind(plan.brief(chosen), ToyBackbone(), grid)[1]
        parts.append(
            inversion_free(
                X[:, :, a:b], pair["source"], pair["target"], grid,
                lambda i, d, a=a, b=b: eps(i, d)[:, :, a:b], draws=chosen.draws,
                fixed_noise_steps=chosen.mode.fixed_noise_steps, average=average_of(chosen.averaging),
                correct=direction_aware(0.25), decouple=decoupled(chosen.mode.decoupling, 1.0),
            )
        )  # fmt: skip
    assert not torch.allclose(torch.cat(parts, 2), whole, atol=1e-2)


def test_noise_belongs_to_the_frame_of_the_clip():
    """From pure noise the first state is the noise itself: every window sees its slice of the clip's."""
    backbone, seen = ToyBackbone(), []
    plain = backbone.velocity

    def velocity(*args):
        inner = plain(*args)

        def listened(z, t):
            seen.append(z)
            return inner(z, t)

        return listened

    backbone.velocity = velocity
    grid = {"mode.grid": "given", "mode.times": [1.0, 0.5, 0.0], "strength": 1.0}
    edited(backbone, mode="random_noise", seed=7, window=9, window_overlap=0.6, **grid)
    eps, places = noise.gaussian(7, tuple(X.shape))(0, 0), windows.places(9, 3, 0.6)
    assert len(places) == 7
    assert all(torch.equal(z, eps[:, :, a:b]) for z, (a, b) in zip(seen, places, strict=False))


def test_a_user_s_mask_is_that_of_the_clip():
    user = torch.zeros((1, 1, *X.shape[2:]))
    user[:, :, 5:, :8] = 1
    options = {"user_mask": "mask.png", "mask.preserve": True, "mode": "inversion_free", "mask.decay": 1e6}
    z, mask, _ = edited(ToyBackbone(coupling=2.0), user, window=9, **options)
    assert torch.equal(mask >= 0.5, user >= 0.5)
    assert torch.equal((z != X).any(1, keepdim=True), user >= 0.5)


def places_of(backbone, latents, **options):
    return plan.windows_of(compose.compose(options), backbone.spec, latents)


def test_frames_of_a_window_are_counted_in_whole_latents_and_patches():
    toy = ToyBackbone()
    assert places_of(toy, 9, window_overlap=0) == [(0, 3), (3, 6), (6, 9)]
    for frames, latents in ((1, 1), (2, 2), (5, 2), (6, 3), (9, 3), (33, 9), (100, 9)):
        assert places_of(toy, 9, window=frames)[0] == (0, latents)
    assert places_of(toy, 9, window="whole") == [(0, 9)]
    toy.spec = replace(toy.spec, patch_frames=2, leading_latents=1)  # as CogVideoX1.5
    assert places_of(toy, 10, window=9, window_overlap=0.5) == [(0, 4), (2, 6), (4, 8), (6, 10)]
    assert places_of(toy, 10, window=10)[0] == (0, 6)  # 4 latents and the repeated one, in whole patches
    toy.spec = replace(toy.spec, patch_frames=1, leading_latents=0, max_latents=5)
    assert len(places_of(toy, 900, window=17, window_overlap=0)) == 180
    with pytest.raises(ValueError, match="window whole is 33 frames of this clip, longer than 17, the most that toy"):
        places_of(toy, 9, window="whole")


@pytest.mark.parametrize(
    ("options", "frames", "said"),
    [
        ({}, 33, "33 frames are more than the 9 that toy was trained on: run in 4 windows of 9 frames"),
        ({"window": 5}, 33, "33 frames run in 8 windows of 5 frames"),
        ({"window": 17}, 33, "a window is longer than the 9 that toy was trained on"),
        ({"window": "whole"}, 33, "more than the 9 that toy was trained on; the clip runs whole"),
        ({"window": 49}, 33, "more than the 9 that toy was trained on; the clip runs whole"),
        ({"window": 17}, 9, "window=17 has no effect: the 9 frames of the clip fit one window"),
        ({}, 9, None),
        ({"window": "whole"}, 9, None),
    ],
)
def test_what_is_said_of_windows(options, frames, said):
    toy, heard = ToyBackbone(), []
    geometry = toy.geometry(frames, (128, 192))
    whole = type(geometry)(frames, frames, geometry.size, (3, 1 + (frames - 1) // 4, 16, 24))
    settings = compose.compose(options)
    heard += of_shape(settings, toy.spec, whole, plan.windows_of(settings, toy.spec, whole.latent[1]))
    assert (said is None) == (not heard)
    assert said is None or said in heard[0]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"window": 0}, "window 0 is out of range: at least 1"),
        ({"window": "all"}, "window 'all' is not a whole number or one of auto, whole"),
        ({"window_overlap": 1}, "window_overlap 1.0 is out of range: at least 0 and below 1"),
        ({"window_overlap": -0.1}, "window_overlap -0.1 is out of range"),
    ],
)
def test_mistakes_are_told(options, said):
    with pytest.raises(ValueError, match=said):
        compose.compose(options)


# End to end, on random checkpoints.

PROMPTS = {"source": "a red square moves", "target": "a blue panda moves"}
WORDS = {"source_words": "square", "target_words": "panda"}
FAST = {"steps": 2, "strength": 1.0, "source_guidance_scale": 1.0, "target_guidance_scale": 2.0, "size": "32x32"}


@pytest.fixture(scope="module", params=["2b", "15", "wan"])
def editor(request):
    return flowedit.load(request.getfixturevalue(f"backbone_{request.param}"), **{"runtime.device": "cpu"}, **FAST)


@pytest.mark.parametrize("mode", ["random_noise", "inversion", "inversion_free"])
def test_a_clip_of_one_window_is_the_plain_edit_bit_for_bit(editor, clip_file, tmp_path, mode):
    made = []
    for name, options in (("auto", {}), ("large", {"window": 90}), ("whole", {"window": "whole"})):
        out = tmp_path / name
        made.append(editor.edit(clip_file, out=out, mode=mode, frames=9, **PROMPTS, **WORDS, **options))
    assert [result.run["windows"] for result in made] == [1, 1, 1]
    for result in made[1:]:
        assert torch.equal(result.latents, made[0].latents)
        assert torch.equal(result.latent_mask, made[0].latent_mask)
        for name in ("edit.mp4", "mask.mp4"):
            assert _coded(result.folder / name) == _coded(made[0].folder / name)


def _coded(video):
    """The coded pictures alone: beside them a file holds the settings of its edit, which differ in the window."""
    with av.open(str(video)) as container:
        return [bytes(packet) for packet in container.demux(video=0)]


@pytest.mark.parametrize("mode", ["random_noise", "inversion", "inversion_free"])
def test_a_longer_clip_keeps_its_format_and_costs_its_windows(editor, clip_file, tmp_path, mode):
    result = editor.edit(clip_file, out=tmp_path / "o", mode=mode, **PROMPTS, **WORDS)
    before, after = probe.probe(clip_file), probe.probe(result.video)
    assert (after.frames, after.size, after.fps, after.has_audio) == (before.frames, before.size, before.fps, True)
    told = yaml.safe_load((result.folder / "run.yaml").read_text())
    assert told["windows"] == 2
    assert told["network_evaluations"] == 2 * {"random_noise": 4, "inversion": 6, "inversion_free": 6}[mode]
    assert result.mask is not None
    assert result.latents.isfinite().all()
    whole = editor.edit(clip_file, out=tmp_path / "w", mode=mode, window="whole", **PROMPTS, **WORDS)
    assert (result.latents - whole.latents).abs().max() > 1e-3  # it is another field


def test_an_overlap_without_windows_is_said(editor, clip_file, tmp_path):
    options = {"frames": 9, "window_overlap": 0.2, "strength": 0}
    result = editor.edit(clip_file, out=tmp_path / "o", **PROMPTS, **options)
    assert any("window_overlap=0.2 has no effect" in text for text in result.run["notices"])


def test_generation_runs_in_windows_too(editor, tmp_path):
    flags = {**editor._options, "target": "a fox", "mode": "random_noise", "frames": 17, "out": str(tmp_path / "o")}
    folder = generation.generate_clip(settings_of(flags), editor.backbone).folder
    told = yaml.safe_load((folder / "run.yaml").read_text())
    assert any("windows of 9 frames" in text for text in told["notices"])
    assert told["network_evaluations"] == 2 * 2 * len(windows.places(*_sizes(editor.backbone)))


def _sizes(backbone):
    lead = backbone.spec.leading_latents
    return 5 + lead, 3 + lead, 0.33, backbone.spec.patch_frames
