"""The parts of the page as files: short, framework-free, and without a way in for a text that is HTML."""

import re
from pathlib import Path

import pytest

import flowedit

STATIC = Path(flowedit.__file__).parent / "app/page/static"
FILES = sorted(each for each in STATIC.rglob("*") if each.suffix in (".js", ".css"))
MODULES = [each for each in FILES if each.suffix == ".js"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_file_is_short_and_asks_no_other_machine(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 400
    assert set(re.findall(r"https?://[^\s\"'`]+", text)) <= {"http://www.w3.org/2000/svg"}
    assert not re.search(r"url\(|@import|@font-face", text)
    assert "@container" not in text  # Gradio leaves such rules out when it takes a style sheet in


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_a_text_never_becomes_html(path):
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|setHTML", text)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_a_module_imports_its_neighbours_alone(path):
    for place in re.findall(r"from \"([^\"]+)\"", path.read_text(encoding="utf-8")):
        assert place.startswith("./")
        assert (STATIC / place).is_file()


def test_no_class_is_styled_that_nobody_has():
    style = (STATIC / "style.css").read_text()
    code = "".join(each.read_text() for each in [*MODULES, *STATIC.parent.glob("*.py")])
    names = set(re.findall(r"\.(fe-[a-z-]+)", re.sub(r"/\*.*?\*/", "", style, flags=re.S)))
    assert {name for name in names if not re.search(rf"(?<![\w-]){name}(?![\w-])", code)} == set()
