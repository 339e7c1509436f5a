"""The catalogue, and `score`: streaming, sharing, failures that stay alone."""

import gc
import math
import subprocess
import sys
import weakref

import numpy as np
import pytest
import torch
from test_temporal import moving

from flowedit.metrics import perceptual, pixels, semantic, temporal
from flowedit.metrics.catalogue import METRICS, Metric, column_order, default_names, five_names, is_cost
from flowedit.metrics.part import Once, Part, Questions
from flowedit.metrics.scoring import Scorer, Stretch, Tools, check, score

TOTAL = 5
LOCAL = [name for name, metric in METRICS.items() if metric.part is not None and metric.download is None]
DEFAULT = tuple(name for name in default_names() if METRICS[name].part is not None)
NOT_OF_FRAMES = {"object_accuracy", "right_object", "mask_iou", "motion_error"} | {
    f"{name}_composited" for name in ("truth_psnr", "truth_lpips", "background_psnr")
}
NOT_OF_FRAMES |= {f"shadow_{what}{how}" for what in ("psnr", "left") for how in ("", "_composited")}


@pytest.fixture(scope="module")
def clip():
    """A texture that moves, its edit (darker and noisy), a mask, and a truth."""
    source = moving(TOTAL, (48, 64), (2, 1))
    noise = np.random.default_rng(2).normal(0, 6, source.shape)
    edit = np.clip(0.9 * source + noise, 0, 255).astype(np.uint8)
    mask = np.zeros(source.shape[:3], bool)
    mask[:, 8:24, 8:24] = True
    return Stretch(source, edit, mask, np.roll(edit, 1, 0))


@pytest.fixture
def models(monkeypatch):
    """Small stand-ins for the networks; the result counts their calls."""
    calls = {"images": 0, "text": 0, "ask": 0, "load": 0}

    class Model:
        def images(self, frames):
            calls["images"] += len(frames)
            features = frames.reshape(len(frames), -1, 3).mean(1) + np.float64(1)
            return features / np.linalg.norm(features, axis=1, keepdims=True)

        def text(self, prompt):
            calls["text"] += 1
            return np.array([0.6, 0.8, 0.0])

        def keys(self, frames):
            return frames[:, ::16, ::16].reshape(len(frames), -1, 3).astype(np.float64)

        def tokens(self, frames):
            return frames.reshape(len(frames), -1, 3).mean(1) + np.float64(1)

    def load_vlm(device):
        calls["load"] += 1
        return ask

    def ask(frames, question):
        calls["ask"] += 1
        calls["frames"] = frames
        return "Yes." if "panda" in question else "no" if "fox" in question else "a)"

    for name, load in (("clip", Model), ("dino", Model), ("vlm", None)):
        module = pytest.importorskip(f"flowedit.pretrained.{name}")
        monkeypatch.setattr(module, "load", load_vlm if load is None else lambda device: Model())
    return calls


def tools(**options):
    questions = Questions("Is there a fox?", "Is there a panda?", "a) cat b) dog")
    return Tools(**{"total": TOTAL, "target": "a panda", "questions": questions} | options)


def split(clip, size):
    for start in range(0, len(clip.source), size):
        yield Stretch._make(None if x is None else x[start : start + size] for x in clip)


@pytest.fixture
def add():
    """Adds a metric for one test."""
    names = []

    def made(name, part, join=lambda rows, tools: float(rows.sum()), needs=frozenset(), label="label"):
        names.append(name)
        METRICS.add(name, Metric(label, "source", "higher", part=part, join=join, needs=needs))

    yield made
    for name in names:
        METRICS.remove(name)


def test_every_metric_that_can_be_asked_for_has_its_function():
    measured = {name for name, metric in METRICS.items() if not metric.askable}
    assert measured == NOT_OF_FRAMES | {name for name in METRICS if is_cost(name)}
    check(DEFAULT)
    check(five_names())
    assert all(METRICS[name].download is None for name in DEFAULT)
    assert set(DEFAULT) >= {"truth_psnr", "psnr", "background_psnr_five", "warp_ssim", "temporal_flicker"}
    assert {METRICS[name].five for name in five_names()} == {True}


@pytest.mark.parametrize("first", ["semantic", "temporal", "pixels", "perceptual"])
def test_the_order_does_not_hang_on_what_is_imported_first(first):
    code = (
        f"import flowedit.metrics.{first}; from flowedit.metrics.catalogue import column_order; print(*column_order())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert tuple(done.stdout.split()) == column_order()
    groups = [METRICS[name].group for name in column_order()]
    assert groups == sorted(groups, key=["truth", "source", "time", "prompt", "cost"].index)


def test_a_group_that_is_unknown_is_refused():
    with pytest.raises(ValueError, match="group 'sound' is none of truth, source, time, prompt, cost"):
        Metric("loudness", "sound", None)


def test_downloads_are_named_with_their_sizes():
    hub = pytest.importorskip("flowedit.pretrained.hub")
    known = {f"{place}, {size}" for place, size in hub.SIZES.items()} | set(perceptual.DOWNLOADS.values())
    assert {metric.download for metric in METRICS.values()} - {None} <= known


@pytest.mark.parametrize("size", [1, 2, 3])
def test_parts_of_any_size_give_the_same_values(size, clip, models):
    metrics = [(name, metric) for name, metric in METRICS.items() if metric.part is not None]
    names = [name for name, metric in metrics if "torchvision" not in (metric.download or "")]
    whole, parts = score(names, [clip], tools()), score(names, split(clip, size), tools())
    assert whole.failures == parts.failures == {}
    assert list(whole.values) == names
    for name, value in whole.values.items():
        assert parts.values[name] == pytest.approx(value, rel=1e-5 if "lpips" in name else 1e-9), name


def test_values_are_those_of_the_functions(clip):
    source, edit, mask, truth = clip
    found = score(LOCAL, split(clip, 2), tools()).values
    assert found["psnr"] == pytest.approx(pixels.psnr(edit, source))
    assert found["mse"] == pytest.approx(pixels.mse(edit, source) / 255**2)
    assert found["background_psnr"] == pytest.approx(pixels.background_psnr(edit, source, mask))
    assert found["background_mse"] == pytest.approx(255**-2 * pixels.mse(edit, source, ~mask))
    assert found["truth_psnr"] == pytest.approx(pixels.psnr(edit, truth))
    cpu = torch.device("cpu")
    there, back = temporal.flow(source[:-1], source[1:], "dis", cpu), temporal.flow(source[1:], source[:-1], "dis", cpu)
    error, seen = temporal.warp_error(edit, there, back).sum(0)
    assert found["warp_error"] == pytest.approx(1e3 * error / seen)
    assert found["warp_ssim"] == pytest.approx(temporal.warp_ssim(edit, there).mean())
    changes = np.abs(np.diff(edit.astype(int), axis=0))
    assert found["temporal_flicker"] == pytest.approx((255 - changes.mean()) / 255)


def test_an_edit_that_is_its_source_is_perfect(clip):
    same = clip._replace(edit=clip.source, truth=clip.source)
    found = score(LOCAL, split(same, 2), tools()).values
    for name, value in found.items():
        if "psnr" in name:
            assert value == math.inf
        elif "mse" in name or "lpips" in name:
            assert value == 0
        elif "ssim" in name and "warp" not in name:
            assert value == pytest.approx(1, abs=1e-6)
    assert found["flow_cosine"] == pytest.approx(1)
    assert found["warp_ssim"] > 0.85
    assert found["warp_error"] < 1


def test_metrics_of_meaning_get_what_they_are_defined_on(clip, models):
    found = score(["clip_t", "clip_t_edited", "clip_f_all", "clip_f_adjacent", "warp_ssim", "q_edit"], [clip], tools())
    assert models["images"] == 2 * TOTAL  # once for the frames, once for their edited parts
    from flowedit.pretrained.clip import load

    model = load(torch.device("cpu"))
    images, text, values = model.images(clip.edit), model.text(""), found.values
    assert values["clip_t"] == pytest.approx(100 * (images @ text).mean())
    black = clip.edit.copy()
    black[~clip.mask] = 0
    assert values["clip_t_edited"] == pytest.approx(100 * (model.images(black) @ text).mean())
    cosines = images @ images.T
    assert values["clip_f_all"] == pytest.approx(cosines[~np.eye(TOTAL, dtype=bool)].mean())
    assert values["clip_f_adjacent"] == pytest.approx(np.diag(cosines, 1).mean())
    assert values["q_edit"] == pytest.approx(values["warp_ssim"] * values["clip_t"])


@pytest.mark.parametrize(
    ("total", "shown"), [(1, [0, 0, 0, 0]), (3, [0, 1, 1, 2]), (5, [0, 1, 3, 4]), (16, [2, 6, 10, 14])]
)
def test_five_acc_asks_once_about_four_frames(total, shown, models):
    edit = np.zeros((total, 16, 16, 3), np.uint8) + np.arange(total, dtype=np.uint8)[:, None, None, None]
    names = [name for name in METRICS if name.startswith("five_acc")]
    found = score(names, split(Stretch(edit, edit), 3), tools(total=total))
    assert models["frames"][:, 0, 0, 0].tolist() == shown
    assert (models["ask"], models["load"]) == (3, 1)
    parts = [found.values[f"five_acc_{part}"] for part in ("yes_no", "multiple_choice", "union", "intersection")]
    assert parts == [1, 0, 1, 0]
    assert found.values["five_acc"] == 0.5


def test_five_acc_of_a_clip_that_ends_early_is_a_failure(clip, models):
    found = score(["five_acc", "psnr"], [clip], tools(total=50))
    assert list(found.values) == ["psnr"]
    assert "4 frames" in found.failures["five_acc"]


def test_a_metric_that_lacks_what_it_needs_is_a_failure():
    source = moving(1, (48, 48))
    names = [name for name, metric in METRICS.items() if metric.needs]
    found = score([*names, "psnr"], [Stretch(source, source)], Tools(total=1))
    for name, said in {
        "background_psnr": "needs a mask",
        "truth_lpips": "needs the true edit",
        "clip_t": "needs a target prompt",
        "five_acc_union": "needs FiVE's questions",
        "flow_cosine": "needs two frames or more",
        "temporal_flicker": "needs two frames or more",
    }.items():
        assert found.failures[name] == said
    assert found.values == {"psnr": math.inf}
    assert list(found.failures) == names


@pytest.mark.parametrize("share", [0, 1, None])
def test_masks_of_everything_of_nothing_and_all_but_a_pixel(share, clip):
    mask = np.full(clip.mask.shape, share != 0)
    if share is None:
        mask[2, 5, 7] = False
    names = ["background_psnr", "background_mse", "background_ssim", "background_psnr_five", "psnr", "ssim"]
    found = score(names, split(clip._replace(mask=mask), 2), tools())
    if share == 0:
        assert not found.failures
        assert found.values["background_psnr"] == pytest.approx(found.values["psnr"])
        return
    assert found.failures["background_ssim"] == "no 11x11 window lies wholly in the background"
    if share == 1:
        assert found.failures["background_psnr"] == "no pixel to compare: the mask is empty"
        assert found.values["background_psnr_five"] == math.inf
    else:
        errors = np.square(clip.edit[2, 5, 7].astype(float) - clip.source[2, 5, 7]).mean()
        assert found.values["background_mse"] == pytest.approx(errors / 255**2)
    assert {"psnr", "ssim"} < set(found.values)


def test_a_source_that_does_not_move_has_no_flow_cosine_and_all_else(clip):
    still = clip._replace(source=np.stack([clip.source[0]] * TOTAL))
    found = score(DEFAULT, split(still, 2), tools())
    assert dict(found.failures) == {"flow_cosine": "no pixel of the source moves by 0.5 pixels"}


@pytest.mark.parametrize(
    "error",
    [ValueError, OSError, ConnectionError, FloatingPointError, RuntimeError, MemoryError, torch.OutOfMemoryError],
)
def test_a_metric_that_raises_is_not_asked_again_and_stays_alone(error, clip, add):
    asked = []

    def broken(part):
        asked.append(part.start)
        if part.start:
            raise error("\nout of luck\nand more")
        return np.zeros((part.new, 1))

    add("broken", broken)
    add("twin", broken)
    found = score(["broken", "psnr", "twin", "ssim"], split(clip, 1), tools())
    assert dict(found.failures) == {"broken": "out of luck", "twin": "out of luck"}
    assert found.values == score(["psnr", "ssim"], split(clip, 1), tools()).values
    assert asked == [0, 1]  # once a part for both


def test_an_error_without_a_word_is_a_reason_too_and_a_bug_is_raised(clip, add):
    def full(part):
        raise MemoryError

    def bug(part):
        raise KeyError("bug")

    add("full", full)
    assert score(["full"], [clip], tools()).failures == {"full": "it gives no reason"}
    add("bug", bug)
    with pytest.raises(KeyError, match="bug"):
        score(["bug"], [clip], tools())


def test_not_a_number_is_a_failure(clip, add):
    add("nan", lambda part: np.full((part.new, 1), math.nan))
    found = score(["nan", "psnr"], [clip], tools())
    assert dict(found.failures) == {"nan": "the value is not a number"}
    assert list(found.values) == ["psnr"]


def test_pairs_reach_over_the_borders_of_parts(clip, add):
    def seen(part):
        return np.array([[len(part.frames.source), part.new, part.start, len(part.edit), len(part.require("mask"))]])

    add("seen", seen, lambda rows, tools: asked.append(rows) or 0.0)
    asked = []
    score(["seen"], split(clip, 2), tools())
    assert asked[0].tolist() == [[2, 2, 0, 2, 2], [3, 2, 2, 2, 2], [2, 1, 4, 1, 1]]


def test_one_part_is_held_at_a_time(clip, add):
    def broken(part):
        raise ValueError("its traceback holds the part")

    add("broken", broken)
    add("twin", broken)
    alive = []
    gc.disable()  # nothing may wait for the collector
    try:

        def parts():
            for frames in split(clip, 1):
                assert all(part() is None for part in alive)
                copies = Stretch._make(x.copy() for x in frames)
                alive.append(weakref.ref(copies.source))
                yield copies
                del copies

        found = score((*DEFAULT, "broken", "twin"), parts(), tools())
    finally:
        gc.enable()
    assert len(alive) == TOTAL
    assert list(found.failures) == ["broken", "twin"]


def test_wrong_names_and_frames_are_refused_before_anything_is_scored(clip):
    with pytest.raises(ValueError, match=r"unknown metric 'bakground_psnr': did you mean background_psnr or "):
        score(["psnr", "bakground_psnr"], iter([None]), tools())
    with pytest.raises(ValueError, match="'seconds' cannot be asked for"):
        score(["seconds"], iter([None]), tools())
    with pytest.raises(ValueError, match="no frames"):
        score(["psnr"], [], tools())
    with pytest.raises(ValueError, match=r"edit: uint8 \(4, 48, 64, 3\)"):
        score(["psnr"], [clip._replace(edit=clip.edit[:4])], tools())
    with pytest.raises(ValueError, match="mask: uint8"):
        score(["psnr"], [clip._replace(mask=clip.mask.astype(np.uint8))], tools())
    small = Stretch._make(x[:, :32] for x in clip)
    with pytest.raises(ValueError, match="cannot follow"):
        score(["psnr"], [clip, small], tools())


def test_what_reading_raises_is_passed_on(clip):
    def parts():
        yield clip
        raise OSError("truncated")

    with pytest.raises(OSError, match="truncated"):
        score(["psnr"], parts(), tools())


def test_structure_distance_is_that_of_the_keys(clip, models):
    from flowedit.pretrained import dino

    model = dino.load(torch.device("cpu"))
    wanted = semantic.structure_distance(model.keys(clip.source), model.keys(clip.edit)).mean()
    assert score(["structure_distance"], split(clip, 2), tools()).values["structure_distance"] == pytest.approx(wanted)


def test_a_part_makes_a_shared_result_once(clip):
    made = []
    part = Part(clip, TOTAL, 0, tools())

    def make(given):
        made.append(given)
        return len(given.source)

    assert part.once(make) == part.once(make) == TOTAL
    assert made == [part]


def test_the_flow_of_a_source_is_computed_once_for_all_its_edits(clip, monkeypatch):
    pairs, whole = [], temporal.flow
    monkeypatch.setattr(temporal, "flow", lambda a, b, *more: pairs.append(len(a)) or whole(a, b, *more))
    names = ["warp_error", "warp_ssim", "flow_cosine"]
    edits = [clip.edit, clip.truth, clip.edit[:4]]
    scorers = [Scorer(names, Tools(total=len(edit))) for edit in edits]
    for start in range(0, TOTAL, 2):
        beside, some = Once(), slice(start, start + 2)
        for scorer, edit in zip(scorers, edits, strict=True):
            if len(edit[some]):
                scorer.add(Stretch(clip.source[some][: len(edit[some])], edit[some]), beside)
    seen = sum(pairs)
    monkeypatch.setattr(temporal, "flow", whole)
    for scorer, edit in zip(scorers, edits, strict=True):
        alone = score(names, split(Stretch(clip.source[: len(edit)], edit), 2), Tools(total=len(edit)))
        assert scorer.scores() == alone
    assert seen == 2 * (TOTAL - 1) + sum(len(edit) - 1 for edit in edits)  # there and back, and one of each edit
