"""Mutated inputs end in success or one clear line; and the fuzzer sees what it is there to see."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent

pytestmark = pytest.mark.slow  # a warm process of its own, and many forks


def run(*argv, **changes):
    """`python tests/fuzz ARGV` in a process of its own: one with threads, as pytest's may be, cannot be forked."""
    given = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **changes}
    return subprocess.run([sys.executable, str(HERE), *argv], capture_output=True, text=True, env=given, check=False)


@pytest.mark.skipif(not hasattr(os, "fork") or sys.platform != "linux", reason="limits of a forked child, as Linux has")
def test_mutated_inputs_end_in_success_or_one_clear_line():
    done = run("--cases", "120", "--seed", "10000")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^120 cases from 10000: 0 faults", done.stdout, re.MULTILINE)


FAULTS = {
    "raise KeyError('a')": "exit code 70",
    "print('flowedit: KeyError: a is lost', file=sys.stderr); return 1": "the word KeyError",
    "print('flowedit: out of memory in a phase', file=sys.stderr); return 1": "the words out of memory",
    "print('flowedit: ' + 'a b ' * 999, file=sys.stderr); return 1": "a long line",
    "print('flowedit: one line that says it\\n  and another', file=sys.stderr); return 1": "2 lines for one",
    "return 1": "0 lines for one",
    "return 3": "exit code 3",
    "os.kill(os.getpid(), 11)": "crash by SIGSEGV",
    "[i for i in iter(int, 1)]": "hang",
    "time.sleep(99)": "hang",
    "open('edit.mp4', 'w'); print('flowedit: one line that says it', file=sys.stderr); return 1": "'edit.mp4' was left",
    "os.mkdir('o'); open('o/.edit.part', 'w'); print('o/edit.mp4'); return 0": "'o/.edit.part' was left",
    "open(os.environ['TMPDIR'] + '/x', 'w'); print('o/edit.mp4'); return 0": "the temporary file 'x' was left",
    "open('c.mp4', 'w'); print('o/edit.mp4'); return 0": "the input 'c.mp4' was changed",
    "print('libpng warning: no'); return 0": "another voice: libpng warning: no",
    "a = bytearray(3 * 2**30); return 0": "exit code 70",
    "print('o/edit.mp4'); return 0": None,
    "print('flowedit: no clip is called a.mp4', file=sys.stderr); return 1": None,
}

PROBE = """
import json, os, sys, time, types
from pathlib import Path
sys.path.insert(0, {here!r})
import harness
module = types.ModuleType("flowedit.cli.main")
sys.modules["flowedit.cli.main"] = module
for number, code in enumerate(json.loads(sys.argv[1])):
    made = dict(globals())
    exec("def main(argv):\\n    " + code, made)
    module.main = made["main"]
    folder = Path({place!r}) / str(number)
    folder.mkdir()
    (folder / "c.mp4").write_text("clip")
    print(harness.run(["edit", "c.mp4"], folder, seconds=1).fault, flush=True)
"""


@pytest.fixture(scope="module")
def faults(tmp_path_factory):
    """What the harness says of each of FAULTS, all run from one warm process, as the fuzzer's cases are."""
    program = PROBE.format(here=str(HERE), place=str(tmp_path_factory.mktemp("faults")))
    done = subprocess.run([sys.executable, "-c", program, json.dumps(list(FAULTS))], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return dict(zip(FAULTS, done.stdout.splitlines(), strict=True))


@pytest.mark.skipif(not hasattr(os, "fork") or sys.platform != "linux", reason="limits of a forked child, as Linux has")
@pytest.mark.parametrize("code", FAULTS)
def test_the_harness_sees_every_fault(faults, code):
    assert faults[code] == str(FAULTS[code])


def test_a_case_is_the_same_each_time():
    program = f"""
import hashlib, sys
from random import Random
sys.path.insert(0, {str(HERE)!r})
import mutate
rng, row = Random(3), {{"a": 1, "b": ["x", 2.5], "c": {{"d": None}}}}
parts = [mutate.yaml_bytes(rng, row) + mutate.json_bytes(rng, row) for _ in range(200)]
print(hashlib.sha256(b"".join(parts)).hexdigest(), len(set(parts)))
"""
    said = [subprocess.check_output([sys.executable, "-c", program], text=True) for _ in range(2)]
    assert said[0] == said[1]
    assert int(said[0].split()[1]) > 150


def test_every_kind_can_be_made_of_any_number(tmp_path):
    """What the fuzzer itself cannot write would stop a run; and no link of a case leads to what can be written."""
    program = f"""
import os, shutil, sys
from pathlib import Path
from random import Random
sys.path.insert(0, {str(HERE)!r})
import inputs, kinds, mutate, spoilt
place = Path({str(tmp_path)!r})
names = ["checkpoint", "edit_file", "edit_list", "five_list", "user_mask"]
base = place / "base"
base.mkdir()
inputs.prepare(base)
for number in range(600):
    folder = place / str(number)
    folder.mkdir()
    name, argv = kinds.case(Random(number), base, folder, names if number % 2 else None)
    links = [path for path in folder.rglob("*") if path.is_symlink() and path.exists()]
    assert all(path.resolve().is_relative_to(place) or not os.access(path, os.W_OK) or
               str(path.resolve()).startswith(("/dev/", "/proc", "/sys")) for path in links)
    (folder / "o").exists() and os.chmod(folder / "o", 0o700)
    shutil.rmtree(folder)
for text in (*mutate.YAML_ENDS, *mutate.YAML_WHOLE):
    text.encode("utf-8", "surrogatepass")
"""
    subprocess.run([sys.executable, "-c", program], check=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
