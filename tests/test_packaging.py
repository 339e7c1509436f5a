"""An installed wheel finds its configuration, wherever it is started."""

import os
import re
import runpy
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel of this checkout, unpacked."""
    pytest.importorskip("hatchling", reason="the dev extra brings it")
    place = tmp_path_factory.mktemp("wheel")
    build = "import hatchling.build as b, sys; print(b.build_wheel(sys.argv[1]))"
    env = {**os.environ, "FLOWEDIT_REPOSITORY": "https://example.org/us/flowedit/"}
    done = subprocess.run([sys.executable, "-c", build, str(place)], cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (path,) = place.glob("*.whl")
    with zipfile.ZipFile(path) as file:
        file.extractall(place / "site")
    return place / "site"


def test_the_wheel_holds_the_package_and_its_configuration(wheel):
    held = {path.relative_to(wheel).as_posix() for path in wheel.rglob("*") if path.is_file()}
    for source, target in (("conf", "flowedit/conf"), ("flowedit", "flowedit")):
        for path in [*(ROOT / source).rglob("*.yaml"), *(ROOT / source).rglob("*.py")]:
            assert f"{target}/{path.relative_to(ROOT / source).as_posix()}" in held
    for part in ("metrics/weights/squeezenet1_1_features.safetensors", "metrics/weights/LICENSE"):
        assert f"flowedit/{part}" in held
    for part in ("template.html", "style.css", "page.js"):
        assert f"flowedit/evaluation/report/{part}" in held
    for part in ("checkpoint/transformer/diffusion_pytorch_model.safetensors", "sprites/atlas.png", "sprites/LICENSE"):
        assert f"flowedit/pocket/{part}" in held
    assert {name.split("/")[0] for name in held if "dist-info" not in name} == {"flowedit"}
    entry = next(wheel.glob("*.dist-info/entry_points.txt")).read_text(encoding="utf-8")
    assert "flowedit = flowedit.cli.main:main" in entry
    assert list(wheel.glob("*.dist-info/licenses/LICENSE"))


def test_a_package_index_shows_pictures_and_links(wheel):
    text = next(wheel.glob("*.dist-info/METADATA")).read_text(encoding="utf-8")
    head, _, page = text.partition("\n\n")
    assert "Project-URL: Homepage, https://example.org/us/flowedit\n" in head
    assert "Project-URL: Issues, https://example.org/us/flowedit/issues\n" in head
    assert "](https://example.org/us/flowedit/raw/main/examples/fox_to_panda.webp)" in page
    assert "](https://example.org/us/flowedit/blob/main/flowedit/editors/README.md)" in page
    lost = [target for target in re.findall(r"\]\(([^)\s]+)\)", page) if not re.match(r"https?://|#", target)]
    assert lost == []


def test_without_an_address_the_page_is_the_readme():
    hook = runpy.run_path(str(ROOT / "scripts" / "package_page.py"))
    assert hook["page"]("![a](b.png) [c](d.md#e) [f](https://g) [h](#i)", "X") == (
        "![a](X/raw/main/b.png) [c](X/blob/main/d.md#e) [f](https://g) [h](#i)"
    )


def test_the_wheel_has_the_examples(wheel, tmp_path):
    names = {path.name for path in (ROOT / "examples").iterdir() if path.suffix in (".yaml", ".mp4")}
    assert {path.name for path in (wheel / "flowedit" / "examples").iterdir()} == names
    env = {**os.environ, "PYTHONPATH": str(wheel), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "flowedit", "edit", "--example", "fox", "--strength", "0", "--out", "out"],
        cwd=tmp_path, env=env, capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "out/edit.mp4\n"), done.stderr
    assert str(wheel) in (tmp_path / "out" / "run.yaml").read_text(encoding="utf-8")


def test_the_wheel_reads_its_own_configuration(wheel, tmp_path):
    script = (
        "from flowedit.config import compose as config; print(config.folder());"
        "s = config.compose({'mode': 'inversion', 'guidance': 'differential', 'draws': 4}); print(s.mode.name, s.steps)"
    )
    env = {**os.environ, "PYTHONPATH": str(wheel)}
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [str(wheel / "flowedit" / "conf"), "inversion 40"]  # pocket's


def test_the_wheel_edits_with_its_own_checkpoint_and_no_network(wheel, tmp_path):
    script = (
        "import sys, flowedit; r = flowedit.edit(sys.argv[1], source='a fox moves right over green grass',"
        "target='a panda moves right over green grass', out='out', steps=2, strength=1, **{'runtime.device': 'cpu'});"
        "print(r.video, r.run['backbone']['name'], flowedit.__file__)"
    )
    env = {**os.environ, "PYTHONPATH": str(wheel), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", script, str(ROOT / "examples" / "fox.mp4")],
        cwd=tmp_path, env=env, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    video, name, package = done.stdout.split()
    assert name == "pocket"
    assert Path(package).is_relative_to(wheel)
    assert (tmp_path / video).stat().st_size > 0
