"""The house stands as drawn: import contracts, short rooms, and nothing heavy at the door."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def test_imports_point_down_only():
    done = subprocess.run([Path(sys.executable).with_name("lint-imports")], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


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
