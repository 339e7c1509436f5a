"""What is imported for a network is that network's code alone."""

import subprocess
import sys

import pytest

from flowedit.networks.imports import defer


@pytest.fixture
def house(tmp_path, monkeypatch):
    """A package whose room imports both of its modules, as diffusers' do."""
    room = tmp_path / "house_of_two" / "room"
    room.mkdir(parents=True)
    (tmp_path / "house_of_two" / "__init__.py").write_text("")
    (room / "__init__.py").write_text("from .one import One\nfrom .two import Two\nBOTH = (One, Two)\n")
    (room / "one.py").write_text("class One: pass\n")
    (room / "two.py").write_text("class Two: pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "house_of_two"
    for name in [name for name in sys.modules if name.startswith("house_of_two")]:
        del sys.modules[name]


def test_a_room_waits_until_something_of_its_own_is_asked_for(house):
    defer(house, ("room", "not there"))
    from house_of_two.room.one import One

    assert "house_of_two.room.two" not in sys.modules
    import house_of_two.room

    with pytest.raises(AttributeError):
        _ = house_of_two.room.__wrapped__
    assert "house_of_two.room.two" not in sys.modules
    assert house_of_two.room.BOTH[0] is One
    assert house_of_two.room.Two is sys.modules["house_of_two.room.two"].Two
    with pytest.raises(AttributeError, match="nothing"):
        _ = house_of_two.room.nothing


def test_a_room_that_is_imported_already_stays_as_it_is(house):
    import house_of_two.room as before

    defer(house, ("room",))
    import house_of_two.room as after

    assert after is before
    assert "BOTH" in vars(after)


LOADS = """
import sys
from flowedit.config.compose import compose
from flowedit.pipeline import run
run.load_backbone(compose({"backbone": "pocket"})).ready()
own = ("cogvideox", "transformer_2d")
models = [name for name in sys.modules if name.startswith("diffusers.models.transformers.")]
assert any(name.endswith("cogvideox_transformer_3d") for name in models), models
assert not [name for name in models if not any(each in name for each in own)], models
coders = [name for name in sys.modules if name.startswith("diffusers.models.autoencoders.")]
assert not [name for name in coders if name.split(".")[-1] not in ("vae", "autoencoder_kl_cogvideox")], coders
from diffusers import AutoencoderKLWan, FluxTransformer2DModel, WanPipeline, WanTransformer3DModel
from diffusers.models import transformers
assert transformers.WanTransformer3DModel is WanTransformer3DModel
assert transformers.SD3Transformer2DModel.__name__ == "SD3Transformer2DModel"
"""


def test_an_edit_by_cogvideox_loads_no_other_family_and_others_still_load():
    done = subprocess.run([sys.executable, "-c", LOADS], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
