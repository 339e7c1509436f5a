"""The house stands as drawn: import contracts, few and short rooms, one name a class, nothing heavy at the door."""

import ast
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


def test_the_ground_is_four_files_and_the_rooms_are_thirteen():
    assert {path.name for path in HOUSE.glob("*.py")} == {
        "__init__.py", "declare.py", "machine.py", "messages.py", "types.py"
    }  # fmt: skip
    assert {room.name for room in ROOMS if room.parent == HOUSE} == {
        "backbones", "cli", "config", "editors", "evaluation", "flow", "language", "masks", "media", "metrics",
        "pipeline", "pocket", "pretrained",
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


def imports_of(path, known):
    """The modules of ours that a module imports, at its top or in its functions; those for type checkers alone not."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("flowedit"):
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full in known else node.module


def test_no_modules_import_each_other_in_a_circle():
    names = {path: ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in MODULES}
    known = set(names.values())
    graph = {name: set(imports_of(path, known)) - {name} for path, name in names.items()}
    done, trail = set(), []

    def visit(name):
        assert name not in trail, " -> ".join([*trail[trail.index(name) :], name])
        if name in done or name not in graph:
            return
        trail.append(name)
        for other in sorted(graph[name]):
            visit(other)
        trail.pop()
        done.add(name)

    for name in sorted(graph):
        visit(name)


def test_the_package_imports_nothing_heavy():
    heavy = "[m for m in ('torch', 'hydra', 'numpy', 'rich') if m in sys.modules]"
    code = f"import sys, flowedit, flowedit.cli.main; print({heavy})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_importers_see_its_types():
    assert (HOUSE / "py.typed").is_file()
