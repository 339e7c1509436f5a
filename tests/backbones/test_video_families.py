"""What LTX-Video, HunyuanVideo and Mochi have in common; test_every_family.py edits with all families."""

import pytest
import torch
from small_family import load

import flowedit
from flowedit.networks.acceleration import Acceleration

WORDS = {"source": "a fox runs", "target": "a panda runs", "source_words": "fox", "target_words": "panda"}


@pytest.mark.parametrize(("kind", "frames", "region"), [("ltx", 9, True), ("hunyuan", 9, False), ("mochi", 7, False)])
def test_attention_is_controlled_and_a_region_runs_or_is_refused(request, clip_file, tmp_path, kind, frames, region):
    shape = {"steps": 3, "frames": frames, "size": "96x64", "backbone": request.getfixturevalue(f"backbone_{kind}")}

    def edit(name, **options):
        return flowedit.edit(clip_file, **WORDS, **shape, **options, out=tmp_path / name)

    plain, made = edit("plain"), [edit("anchor", attention="anchor"), edit("control", mode="rf_solver_edit")]
    if region:
        made.append(edit("region", **{"mode.region": True}))
    else:
        with pytest.raises(ValueError, match=r"mode\.region"):
            edit("region", **{"mode.region": True})
    for each in made:
        assert torch.isfinite(each.latents).all()
        assert not torch.equal(plain.latents, each.latents)


@pytest.mark.parametrize("kind", ["ltx", "hunyuan", "mochi"])
def test_what_they_do_not_run_with_is_refused(request, kind):
    folder = request.getfixturevalue(f"backbone_{kind}")
    with pytest.raises(ValueError, match=r"does not run with runtime\.fuse"):
        load(folder, how=Acceleration(fuse=True))
    with pytest.raises(ValueError, match=r"does not run with runtime\.context_parallel"):
        load(folder, how=Acceleration(context_parallel=2))
