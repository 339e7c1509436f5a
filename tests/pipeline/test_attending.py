"""Whole edits under a control of attention: on each family and on pocket, what is refused, and what a kill leaves."""

from dataclasses import replace
from itertools import groupby
from operator import itemgetter

import pytest
import torch
from edits import steered
from fields import ToyBackbone
from masking import UNTUNED

from flowedit.backbones import families, memory, presets
from flowedit.config import compose
from flowedit.editors.spec import EDITORS
from flowedit.messages import InputError
from flowedit.networks.control.bound import remembers
from flowedit.networks.control.kept import Held
from flowedit.pipeline.checks import check_attending, check_attention, check_waiting
from flowedit.pipeline.notices.unused import of_unused
from flowedit.pipeline.plan import brief, load_of, windows_of
from flowedit.pipeline.prompts.several import attention_of
from flowedit.pipeline.region import Region, control_of
from flowedit.pipeline.run import checkpoint

BASE = UNTUNED | {
    "source": "a red fox and a car",
    "target": "a big panda and a bus",
    "source_words": "fox",
    "target_words": "panda",
    "steps": 3,
    "strength": 1.0,
    "mask.pool": 0.0,
    "window": "whole",
}
TWO = {"source_words": "fox, car", "target_words": "panda, bus"}
PRESETS = ("rf_solver_edit", "fireflow", "adaedit", "consistedit", "kv_lock", "flowanchor")


def made(**options):
    return brief(compose.compose(BASE | options))


@pytest.fixture(scope="module")
def pocket():
    settings = compose.compose({"backbone": "pocket"})
    return families.load(checkpoint(settings, fetch=False), device="cpu", dtype="float32")


def opened(request, kind):
    if kind == "pocket":
        return request.getfixturevalue("pocket")
    return families.load(request.getfixturevalue(f"backbone_{kind}"), device="cpu", dtype="float32")


def latent(backbone, frames=9):
    size, frames = ((32, 32), 5) if backbone.spec.name == "pocket" else ((64, 96), frames)
    frames = 1 if backbone.spec.still else frames
    shape = (1, *backbone.geometry(frames, size).latent)
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kind", ["2b", "15", "wan", "flux", "pocket"])
@pytest.mark.parametrize("preset", PRESETS)
def test_each_preset_runs_on_each_family_and_its_control_moves_the_edit(request, kind, preset):
    backbone = opened(request, kind)
    x = latent(backbone)
    whole = {"attention.blocks": [0.0, 1.0], "attention.anchor_until": 0.0, "mode": preset}
    whole |= {"attention.adapt": 0.5, "steps": 4} if preset == "kv_lock" else {}
    whole |= {"attention.values_steps": [0.0, 0.5]} if preset == "fireflow" else {}  # an eighth of so few is none
    settings = compose.compose(BASE | whole)
    controlled = steered(settings, backbone, x).z
    plain = steered(replace(settings, attention=compose.compose({}).attention), backbone, x).z
    assert torch.isfinite(controlled).all()
    assert (controlled - plain).norm() / plain.norm() > 1e-6  # random weights look at all tokens much alike
    idle = {"attention.queries": 0, "attention.keys": 0, "attention.values": 0}
    idle |= {"attention.anchor_words": 0, "attention.anchor_sites": 0}
    assert torch.equal(steered(compose.compose(BASE | whole | idle), backbone, x).z, plain)


@pytest.mark.parametrize("mode", [name for name, each in EDITORS.items() if "source" in each.sides])
def test_every_editor_that_sees_the_source_takes_of_it(mode):
    x = torch.randn((1, 3, 5, 16, 24), generator=torch.Generator().manual_seed(0))
    options = BASE | {"mode": mode}
    moved, plain = (
        steered(compose.compose(options | {"attention.values": value}), ToyBackbone(2.0), x).z for value in (1.0, 0.0)
    )
    assert torch.isfinite(moved).all()
    assert (moved - plain).norm() / plain.norm() > 1e-3


class Watched(ToyBackbone):
    """Tells what a control shows to each call of the target: (t, the target's state, the source's state and its t)."""

    def __init__(self, monkeypatch):
        super().__init__()
        self.shown, self._states = [], {}
        keep, shown = Held.keep, Held.shown

        def kept(held, window, seen):
            self._states[seen] = self._state
            keep(held, window, seen)

        def looked(held, window, t):
            found = shown(held, window, t)
            self.shown.append((t, self._state, None if found is None else self._states[found], found and found.t))
            return found

        monkeypatch.setattr(Held, "keep", kept)
        monkeypatch.setattr(Held, "shown", looked)

    def _controlled(self, prompt, z, t):
        self._state = z
        return super()._controlled(prompt, z, t)


STRAIGHT = [name for name, each in EDITORS.items() if each.sides == ("source", "target") and not each.rises(None, 3)]


@pytest.mark.parametrize("mode", STRAIGHT)
def test_the_source_that_a_step_s_target_sees_is_of_its_time_and_noise(mode, monkeypatch):
    """P - Q is one number of a step, whatever the draw or stream, and 0 in the first: with other noise it is not."""
    x, backbone = torch.randn((1, 3, 5, 16, 24), generator=torch.Generator().manual_seed(0)), Watched(monkeypatch)
    draws = {"draws": 2} if EDITORS[mode].draws else {}
    steered(compose.compose(BASE | draws | {"mode": mode, "attention.values": 1.0}), backbone, x)
    assert len(backbone.shown) >= 3
    assert all(seen is not None and t == seen_at for t, _, seen, seen_at in backbone.shown)
    for t, calls in groupby(backbone.shown, key=itemgetter(0)):
        away = torch.cat([p - q for _, p, q, _ in calls])
        assert (away - away[:1]).abs().max() < 1e-5
        assert t < max(each[0] for each in backbone.shown) or away.abs().max() < 1e-5


def test_a_step_of_the_target_alone_takes_nothing_of_an_earlier_source(monkeypatch):
    x, backbone = torch.randn((1, 3, 5, 16, 24), generator=torch.Generator().manual_seed(0)), Watched(monkeypatch)
    options = {"mode": "inversion_free", "mode.target_only_steps": 2, "attention.values": 1.0}
    steered(compose.compose(BASE | options), backbone, x)
    assert [seen is None for _, _, seen, _ in backbone.shown] == [False, True, True]


@pytest.mark.parametrize("mode", ["inversion", "inversion_free"])
def test_a_word_weight_and_objects_apart_move_an_edit_of_several_windows(request, mode):
    backbone = opened(request, "5b")
    x, options = latent(backbone, 33), BASE | TWO | {"mode": mode, "window": 9}
    plain = steered(compose.compose(options), backbone, x).z
    for key, value in (("word_weight", 4.0), ("objects", "apart"), ("values", 0.5)):
        moved = steered(compose.compose(options | {f"attention.{key}": value}), backbone, x).z
        assert (moved - plain).norm() / plain.norm() > 1e-6
        assert torch.isfinite(moved).all()


def test_a_user_s_mask_says_where_words_count(request):
    backbone = opened(request, "2b")
    x = latent(backbone)
    user = torch.zeros((1, 1, *x.shape[2:]))
    user[..., :4] = 1
    options = BASE | {"mode": "inversion_free", "user_mask": "mask.png", "attention.word_weight": 6.0}
    moved, plain = (
        steered(compose.compose(options | {"attention.word_weight": weight}), backbone, x, user=user).z
        for weight in (6.0, 1.0)
    )
    assert (moved - plain).abs().max() > 1e-4


REFUSED = [
    ({"mode": "random_noise", "attention": "values"}, "takes attention from the source, and mode=random_noise never"),
    ({"mode": "random_noise", "attention.values": 1}, "^attention.values=1.0 takes attention from the source"),
    ({"mask": "none", "attention.word_weight": 2}, "^attention.word_weight=2.0 acts where a mask says"),
    ({"mask": "none", "attention": "background"}, "attention=background acts where a mask says, and there is none"),
    ({"mask": "none", "attention": "anchor"}, "attention=anchor acts where a mask says"),
    ({"target_words": "", "attention.word_weight": 2.0}, "attention to words needs target_words"),
    ({"attention.objects": "apart"}, "attention.objects=apart needs two objects or more"),
    ({"attention": "values", "mode.region": True}, "a control of attention and mode.region=true do not go together"),
    ({"attention": "values", "runtime.split_guidance": "cuda:1"}, "and runtime.split_guidance do not go together"),
    ({"attention": "values", "guidance_rule": "rectified"}, "and guidance_rule=rectified do not go together"),
    ({"attention": "anchor", "runtime.context_parallel": 2}, "and runtime.context_parallel do not go together"),
]


@pytest.mark.parametrize(("options", "message"), REFUSED)
def test_what_makes_no_sense_is_refused_before_a_model_is_there(options, message):
    with pytest.raises(InputError, match=message.replace(".", r"\.")) as error:
        check_attention(made(**{"mode": "inversion_free"} | options))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("options", [
    {"attention": "values", "mask": "none", "mode": "inversion"},
    {"attention": "anchor", "mode": "random_noise"},
    {"attention.objects": "apart", **TWO},
    {"mask": "none"},
])  # fmt: skip
def test_what_makes_sense_is_not_refused(options):
    check_attention(made(**{"mode": "inversion_free"} | options))


@pytest.mark.parametrize(
    ("options", "comes_to"),
    [
        (TWO, "apart"),
        (TWO | {"mode": "random_noise"}, "apart"),
        (TWO | {"target_words": TWO["source_words"].split(",")[0] + "," + TWO["target_words"].split(",")[1]}, "apart"),
        ({}, "joined"),
        (TWO | {"target_words": ""}, "joined"),
        (TWO | {"source_words": ""}, "joined"),
        (TWO | {"mask": "none"}, "joined"),
        (TWO | {"mask.objects": "joined"}, "joined"),
        (TWO | {"mode.region": True}, "joined"),
        (TWO | {"guidance_rule": "rectified"}, "joined"),
        (TWO | {"runtime.context_parallel": 2}, "joined"),
    ],
)
def test_auto_parts_objects_that_both_prompts_name_and_is_never_in_the_way(options, comes_to):
    found = made(**{"mode": "inversion_free", "attention.objects": "auto"} | options)
    assert attention_of(found).objects == comes_to
    assert attention_of(found).active == (comes_to == "apart")
    assert found.settings.attention.objects == "auto"  # as run.yaml says it
    check_attention(found)


def test_auto_is_pocket_s_and_not_a_full_size_model_s_and_makes_what_apart_makes(request):
    assert compose.compose({}).attention.objects == "auto"
    assert compose.compose({"backbone": "cogvideox-2b"}).attention.objects == "joined"
    backbone, options = opened(request, "2b"), BASE | TWO | {"mode": "inversion_free"}
    x = latent(backbone)
    auto, apart, joined = (
        steered(compose.compose(options | {"attention.objects": how}), backbone, x).z
        for how in ("auto", "apart", "joined")
    )
    assert torch.equal(auto, apart)
    assert not torch.equal(auto, joined)


def test_a_backbone_of_a_plug_in_without_attend_is_refused_by_name():
    backbone = ToyBackbone()
    backbone_without = type("Other", (), {"spec": replace(backbone.spec, name="other")})()
    check_attending(made(attention="values"), backbone)
    check_attending(made(), backbone_without)
    with pytest.raises(
        InputError, match=r"other offers no control of its attention: leave attention=values out"
    ) as said:
        check_attending(made(attention="values"), backbone_without)
    assert str(said.value).endswith("or take a model whose network is a transformer, not a UNet")
    by_hand = made(**{"attention.keys": 0.5, "attention.objects": "apart"})
    with pytest.raises(InputError, match=r"leave attention\.keys=0\.5 attention\.objects=apart out"):
        check_attending(by_hand, backbone_without)


@pytest.mark.parametrize(("options", "told"), [
    ({"attention.fade": 5.0}, "attention.fade=5.0 has no effect: it needs attention.queries, keys or values above 0"),
    ({"attention.values": 1.0, "attention.keys_inside": 0.5}, "attention.keys_inside=0.5 has no effect: it needs att"),
    ({"attention.anchor_until": 0.2}, "attention.anchor_until=0.2 has no effect: it needs attention.anchor_words or"),
    ({"attention.blocks": [0.5, 1.0]}, "attention.blocks=(0.5, 1.0) has no effect: it needs a control of attention"),
])  # fmt: skip
def test_an_option_without_effect_is_told(options, told):
    assert any(text.startswith(told) for text in of_unused(made(**options)))


def test_objects_have_their_own_words_and_steps_are_shares_of_the_grid():
    backbone, masks = ToyBackbone(), torch.rand(3, 1, 2, 4, 4)
    where = Region(None, lambda: None, now=lambda: (masks[:1], masks))
    prompts = {side: backbone.embed(BASE[side]) for side in ("source", "target")}
    grid = [1.0, 0.8, 0.6, 0.4, 0.0]
    several = made(**TWO, attention="keys_values", **{"attention.keys_steps": [0.3, 0.7], "steps": 4})
    control = control_of(several, prompts, where, grid)
    assert (control.words, control.edited) == ([[2], [5]], [True, True])
    assert control.regions() is masks
    assert (control.keys.steps, control.values.steps) == ((1, 3), (0, 1))
    assert (control.keys.outside, control.keys.inside) == (1.0, pytest.approx(0.1))
    one = control_of(made(attention="anchor"), prompts, where, grid)
    assert (one.words, one.edited, one.path) == ([[2]], [True], False)
    assert torch.equal(one.regions(), masks[:1])
    assert control_of(made(), prompts, where, grid) is None


def test_memory_reckons_with_what_is_taken_where_it_stays_on_the_device():
    options = {"attention": "structure", "attention.blocks": [0.5, 1.0], "source_guidance_scale": 2.0, "draws": 3}
    assert load_of(made(mode="inversion_free", **options), (4, 3, 8, 12)).taken == 0.5 * 3 * 2 * 3
    assert load_of(made(mode="inversion_free"), (4, 3, 8, 12)).taken == 0
    assert load_of(made(mode="inversion", attention="values"), (4, 3, 8, 12)).taken == 0


PATHS = {
    "euler": {"mode": "inversion"},
    "midpoint": {"mode": "inversion", "mode.solver": "midpoint"},
    "heun": {"mode": "inversion", "mode.solver": "heun"},
    "fireflow": {"mode": "inversion", "mode.solver": "fireflow"},
    "reconstructed": {"mode": "inversion", "mode.reconstruction": True},
    "first steps": {"mode": "inversion", "attention.values_steps": [0.0, 0.5], "attention.keys_steps": [0.0, 0.25]},
    **{mode: {"mode": mode} for mode, each in EDITORS.items() if each.rises(compose.compose({"mode": mode}).mode, 4)},
}


@pytest.mark.parametrize(("kind", "frames", "window"), [*((kind, 9, "whole") for kind in PATHS), ("euler", 33, 9)])
def test_what_waits_on_the_host_is_reckoned(request, monkeypatch, kind, frames, window):
    """Each velocity that waits to the byte; at most two more of them than there are."""
    backbone, kept, keep = opened(request, "2b"), [], Held.keep
    x = latent(backbone, frames)
    monkeypatch.setattr(Held, "keep", lambda held, place, seen: kept.append(seen) or keep(held, place, seen))
    taken = {"mask": "none", "steps": 4, "attention.values": 1, "attention.keys": 1, "source_guidance_scale": 2.0}
    brief_of = made(**taken | {"window": window} | PATHS[kind])
    steered(brief_of.settings, backbone, x)
    places = windows_of(brief_of.settings, backbone.spec, x.shape[2])
    assert (len(places) > 1) == (window == 9)
    size = sum(part.nbytes for each in kept for parts in each._parts.values() for part in parts)
    longest = max(end - start for start, end in places)
    load = load_of(brief_of, (x.shape[1], longest, *x.shape[3:]), len(places))
    reckoned = presets.host_need(memory.of_backbone(backbone), load, brief_of.settings.runtime, True) * 2**30
    times = len(kept) / len(places)
    assert load.taken == 0
    assert times <= reckoned / size * times <= times + 2


def test_a_path_that_has_no_room_on_the_host_is_refused(request, monkeypatch):
    backbone, of = opened(request, "2b"), made(mode="inversion", **{"attention.values": 1})
    latent_of = (4, 13, 60, 90)
    check_waiting(of, backbone, latent_of, 1)
    monkeypatch.setattr(memory, "of_host", lambda: (1e-4, 1.0))
    with pytest.raises(InputError, match=r"^attention\.values=1\.0 keeps .* GiB of the source's attention in the host"):
        check_waiting(of, backbone, latent_of, 1)
    check_waiting(made(mode="inversion"), backbone, latent_of, 1)
    check_waiting(made(mode="inversion_free", **{"attention.values": 1}), backbone, latent_of, 1)
    with pytest.raises(InputError, match=r"are free: give fewer steps"):
        check_waiting(made(mode="inversion_free", **{"attention.values": 1}), backbone, latent_of, 4)


@pytest.mark.parametrize(("options", "expected"), [
    ({"mode": "inversion", "attention": "values"}, True),
    ({"mode": "inversion", "attention": "anchor"}, False),
    ({"mode": "inversion_free", "attention": "structure"}, False),
    ({"mode": "inversion_free", "attention": "background"}, True),
])  # fmt: skip
def test_what_a_killed_edit_cannot_know_again_starts_it_anew(options, expected):
    backbone = ToyBackbone()
    prompts = {side: backbone.embed(BASE[side]) for side in ("source", "target")}
    assert remembers(control_of(made(**options), prompts, Region(None, lambda: None), [1.0, 0.5, 0.0])) == expected
