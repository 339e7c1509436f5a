"""`python tests/fuzz --cases N --seed S`: that many cases, the faults one line each, and the figures at the end."""

import argparse
import contextlib
import json
import os
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import session


def main() -> int:
    """1 if a case has a fault, else 0."""
    parser = argparse.ArgumentParser("python tests/fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=300, help="how many cases (default 300)")
    parser.add_argument("--seed", type=int, default=0, help="the first case's number; others follow (default 0)")
    parser.add_argument("--kinds", help="kinds alone, with commas between them")
    parser.add_argument("--show", action="store_true", help="print the cases without a fault too")
    parser.add_argument("--keep", metavar="DIR", help="where the folders of cases with a fault are kept")
    given = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="flowedit-fuzz-"))
    ends, slowest, largest, faults, done = Counter(), 0.0, 0, 0, 0
    try:
        with session.opened(place) as run:
            for number in range(given.seed, given.seed + given.cases):
                name, argv, verdict = run(number, given.kinds.split(",") if given.kinds else None)
                ends[f"{name}: exit {verdict.code}"] += 1
                slowest, largest = max(slowest, verdict.seconds), max(largest, verdict.bytes)
                faults += verdict.fault is not None
                if verdict.fault or given.show:
                    said = json.dumps(argv)[:400], verdict.output.strip()[-400:]
                    print(f"case {number} {name}: {verdict.fault or verdict.code}", *said, sep="\n  ", flush=True)
                if verdict.fault and given.keep:
                    with contextlib.suppress(shutil.Error):  # all but pipes
                        shutil.copytree(place / str(number), Path(given.keep) / str(number), symlinks=True)
                session.cleared(place / str(number))
                done += 1
    except KeyboardInterrupt:
        print("stopped")
    finally:
        shutil.rmtree(place, ignore_errors=True)
    for end, count in sorted(ends.items()):
        print(f"{count:6} {end}")
    most = f"at most {slowest:.1f} s and {largest / 2**30:.2f} GiB a case"
    print(f"{done} cases from {given.seed}: {faults} faults; {most}")
    return int(faults > 0)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
