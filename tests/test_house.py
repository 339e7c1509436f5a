"""The house stands as drawn: import contracts, short rooms, and nothing heavy at the door."""

import ast
import graphlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def test_imports_point_down_only():
    done = subprocess.run([Path(sys.executable).with_name("lint-imports")], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_no_module_imports_itself_by_way_of_others():
    assert circle(imports(ROOT / "flowedit")) is None


def test_a_circle_is_found_wherever_its_imports_stand(tmp_path):
    (tmp_path / "house" / "room").mkdir(parents=True)
    for place, text in {
        "__init__": "",
        "one": "from house.room import two",
        "room/__init__": "",
        "room/two": "def late():\n    from house import three",
        "three": "import house.one",
        "four": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import house.five",
        "five": "import house.four",
    }.items():
        (tmp_path / "house" / f"{place}.py").write_text(text)
    found = imports(tmp_path / "house")
    assert set(circle(found)) == {"house.one", "house.room.two", "house.three"}
    assert circle({**found, "house.three": set()}) is None


def imports(package):
    """Module → the modules of its package that it imports, in functions too, but not for the type checker alone."""
    names = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return {name: set(_imported(ast.parse(path.read_text()), names)) - {name} for name, path in names.items()}


def _imported(node, known):
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        children = node.orelse
    else:
        children = ast.iter_child_nodes(node)
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names if alias.name in known)
    elif isinstance(node, ast.ImportFrom):
        assert not node.level, "imports are absolute here"
        for name in (f"{node.module}.{alias.name}" for alias in node.names):
            yield from [name] if name in known else [node.module] if node.module in known else []
    for child in children:
        yield from _imported(child, known)


def circle(graph):
    """A circle of modules, or None."""
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return error.args[1]


@pytest.mark.parametrize("path", sorted((ROOT / "flowedit").rglob("*.py")), ids=lambda p: p.name)
def test_no_file_is_longer_than_400_lines(path):
    assert len(path.read_text().splitlines()) <= 400
    if path.parent.name != "conf":
        assert path.read_text().startswith('"""'), "the first line says what lives there"


def test_the_package_imports_nothing_heavy():
    heavy = "[m for m in ('torch', 'hydra', 'numpy', 'rich') if m in sys.modules]"
    code = f"import sys, flowedit, flowedit.cli; print({heavy})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
