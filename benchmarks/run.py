"""Run the benchmarks one after the other, each in its own process, and print their figures as one table.

    python benchmarks/run.py --quick            every benchmark's quick form; figures go to outputs/bench
    python benchmarks/run.py --full NAME ...    the published figures, in benchmarks/results

A benchmark is a script beside this one with `main(argv)` and a `--quick` option.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

from robolearn.core.errors import RobolearnError, unknown_name
from robolearn.evaluation.statistics.figures import QUICK_RESULTS, RESULTS, format_table, read_figures

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent


def benchmarks() -> dict[str, Path]:
    """name -> script."""
    own = Path(__file__).name
    return {p.stem: p for p in sorted(HERE.glob("*.py")) if p.name != own and not p.name.startswith("_")}


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="benchmarks/run.py", description="Run the benchmarks and print their figures."
    )
    form = parser.add_mutually_exclusive_group(required=True)
    form.add_argument("--quick", action="store_true", help="short runs; figures go to outputs/bench")
    form.add_argument("--full", action="store_true", help="the published figures, in benchmarks/results")
    parser.add_argument("names", nargs="*", help="benchmarks to run; all by default")
    options = parser.parse_args(argv)
    known = benchmarks()
    for name in options.names:
        if name not in known:
            print(f"error: {unknown_name('benchmark', name, known)}", file=sys.stderr)
            return 2
    failed = [name for name in options.names or known if not run(known[name], options.quick)]
    folder = REPOSITORY / (QUICK_RESULTS if options.quick else RESULTS)
    if options.quick:
        print("\nQuick forms show that the benchmarks run. Their numbers are not figures: policies are hardly trained.")
    try:
        print("\n" + (format_table(read_figures(folder)) if folder.exists() else "No figures were written."))
    except RobolearnError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if failed:
        print(f"error: failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def run(script: Path, quick: bool) -> bool:
    """Run one script from the repository's root, with its output shown; True when it ended well."""
    print(f"== {script.stem}", flush=True)
    started = time.perf_counter()
    arguments = [sys.executable, str(script), *(["--quick"] if quick else [])]
    status = subprocess.run(arguments, cwd=REPOSITORY, check=False).returncode
    outcome = "done" if status == 0 else f"failed with exit status {status}"
    print(f"== {script.stem}: {outcome} in {time.perf_counter() - started:.1f} s", flush=True)
    return status == 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
