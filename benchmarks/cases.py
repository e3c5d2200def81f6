"""The small inputs that were once handled wrongly: how many of them are handled right?

    python benchmarks/cases.py [--cases FOLDER] [NAME ...]

Each case is run as a user would run it, and what comes of it is compared with what the case holds, read independently
(`fault_cases/`). Exit status 1 when one is not right. The quick form runs them all, too: together they take a minute.

convert.cases_right   share of the cases, all of them run, that are handled right; 1
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

from fault_cases.judges import CASES
from fault_cases.verdict import Verdict

from robolearn.evaluation.statistics.figures import Figure, results_file, write_figures

SHARED_CASES = Path(__file__).resolve().parents[1].parent / "shared" / "cases"


def judged(name: str, folder: Path, scratch: Path) -> Verdict:
    """Run one case in an empty folder of its own. Raises FileNotFoundError where its input is missing."""
    entry, judge = CASES[name]
    source = folder / (entry or "")
    if not source.exists():
        raise FileNotFoundError(source)
    own = scratch / name
    own.mkdir()
    try:
        return judge(source, own)
    except Exception as error:  # a case that cannot be judged is not right, and the others are judged all the same
        return Verdict(False, f"{type(error).__name__}: {error}")
    finally:
        shutil.rmtree(own)


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="the same; the figure goes to outputs/bench")
    parser.add_argument("--cases", type=Path, default=SHARED_CASES, help="folder with the inputs")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"only these, without a figure: {', '.join(CASES)}")
    options = parser.parse_args(argv)
    if unknown := [name for name in options.names if name not in CASES]:
        parser.error(f"no case is called {unknown[0]!r}; there are {', '.join(CASES)}")
    if not options.cases.is_dir():
        print(f"cases: left out, {options.cases} is not there")
        return 0
    verdicts: dict[str, Verdict] = {}
    with tempfile.TemporaryDirectory(prefix="cases-") as scratch:
        for name in options.names or CASES:
            try:
                verdicts[name] = judged(name, options.cases, Path(scratch))
            except FileNotFoundError as error:
                print(f"  {name:30s} left out: {error} is not there")
                continue
            print(f"  {name:30s} {'right' if verdicts[name].right else 'WRONG'}: {verdicts[name].why}", flush=True)
    if not verdicts:
        return 0
    count = sum(verdict.right for verdict in verdicts.values())
    print(f"{count} of {len(verdicts)} cases are handled right")
    if not options.names:
        command = "python benchmarks/cases.py" + (" --quick" if options.quick else "")
        config = {name: verdict.right for name, verdict in verdicts.items()}
        note = "share of the cases in ../shared/cases that are handled right: " + "; ".join(
            f"{name}: {verdict.why}" for name, verdict in verdicts.items() if not verdict.right
        ) if count < len(verdicts) else "share of the cases in ../shared/cases that are handled right: all"  # fmt: skip
        figure = Figure("convert.cases_right", count / len(verdicts), "1", len(verdicts), command, config=config,
                        notes=note)  # fmt: skip
        write_figures(results_file("cases", options.quick), [figure])
    return int(count < len(verdicts))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
