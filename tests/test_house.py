"""The house stands as drawn: import contracts, few and short rooms, one name a class, nothing heavy at the door."""

import ast
import graphlib
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
HOUSE = ROOT / "flowedit"
MODULES = sorted(path for path in HOUSE.rglob("*.py") if "conf" not in path.relative_to(HOUSE).parts)
ROOMS = sorted({path.parent for path in MODULES})


def test_imports_point_down_only():
    done = subprocess.run([Path(sys.executable).with_name("lint-imports")], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(HOUSE).as_posix())
def test_a_module_is_short_and_its_first_line_says_what_lives_there(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 400
    assert text.startswith('"""')


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.relative_to(ROOT).as_posix())
def test_a_room_holds_at_most_fifteen_modules(room):
    assert len([path for path in room.glob("*.py") if path.name != "__init__.py"]) <= 15


def test_the_ground_is_few_files_and_the_rooms_are_nineteen():
    assert {path.name for path in HOUSE.glob("*.py")} == {
        "__init__.py", "__main__.py", "declare.py", "machine.py", "messages.py", "results.py", "tensors.py",
        "types.py",
    }  # fmt: skip
    assert {room.name for room in ROOMS if room.parent == HOUSE} == {
        "app", "backbones", "cli", "config", "doctor", "editors", "evaluation", "flow", "inspection", "integrations",
        "language",
        "masks", "media", "metrics", "networks", "pipeline", "pocket", "pretrained",
        "upscaling",
    }  # fmt: skip


def test_no_two_classes_or_aliases_of_types_share_a_name():
    names = Counter()
    for path in MODULES:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef):
                names[node.name] += 1
            elif isinstance(node, ast.Assign) and _is_alias(node.value):
                names.update(target.id for target in node.targets if isinstance(target, ast.Name))
    assert {name for name, count in names.items() if count > 1 and not name.startswith("_")} == set()


def _is_alias(value):
    """Whether a value is a type: Callable[...], tuple[...], A | B of such."""
    if isinstance(value, ast.BinOp) and isinstance(value.op, ast.BitOr):
        return _is_alias(value.left) or _is_alias(value.right)
    return (
        isinstance(value, ast.Subscript)
        and isinstance(value.value, ast.Name)
        and value.value.id in ("Callable", "tuple", "dict", "list", "Sequence", "Mapping", "Literal", "frozenset")
    )


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


def test_the_package_imports_nothing_heavy():
    heavy = "[m for m in ('torch', 'hydra', 'numpy', 'rich') if m in sys.modules]"
    code = f"import sys, flowedit, flowedit.cli.main; print({heavy})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


WATCH = """
import importlib, sys, traceback

class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            frames = traceback.extract_stack()
            ours = [each for each in frames if "flowedit" in each.filename and "tensors.py" not in each.filename]
            sys.exit(f"{ours[-1].filename}, line {ours[-1].lineno}, loads torch: {ours[-1].line}")

sys.meta_path.insert(0, Watch())
for name in sys.argv[1:]:
    importlib.import_module(name)
"""


def test_editors_flow_and_masks_are_imported_without_torch():
    """So that options and costs of all methods are known at once: `from flowedit.tensors import F, Tensor, torch`.

    An annotation such as torch.device needs `from __future__ import annotations`; a constant of torch is made when it
    is first used.
    """
    rooms = [path for path in MODULES if path.relative_to(HOUSE).parts[0] in ("editors", "flow", "masks")]
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in rooms]
    done = subprocess.run([sys.executable, "-c", WATCH, *names], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_tensors_are_torch_s_own():
    import torch

    from flowedit import tensors

    assert isinstance(torch.zeros(1), tensors.Tensor)
    assert not isinstance(1, tensors.Tensor)
    assert tensors.torch.float32 is torch.float32
    assert tensors.F.pad is torch.nn.functional.pad


def test_importers_see_its_types():
    assert (HOUSE / "py.typed").is_file()
