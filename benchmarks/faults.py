"""Faults on purpose: kill -9 while recording, damaged bytes and files, and power cuts. How much is lost?

faults.kill9_lost       committed episodes lost in 200 kills, half of a step, half of a stream recording; 0
faults.fuzz_silent      of 300 damaged datasets, those in which somebody crashed, returned wrong data that has a
                        checksum, named another place, or in which repair harmed an intact episode; 0
faults.power_cut_lost   simulated power cuts after which an acknowledged episode was missing or damaged; 0
"""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Literal

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from fault_injection.fuzz import Fuzzer
from fault_injection.killing import kill_many
from fault_injection.power_cut import MODES, record_and_cut
from fault_injection.worlds import make_steps, make_streams

from robolearn.evaluation.statistics.figures import Figure, results_file, write_figures


def killing(scratch: Path, kills: int, command: str) -> Figure:
    toll = kill_many(scratch, kills // 2, kills - kills // 2, progress=lambda: print(".", end="", flush=True))
    print()
    for line in toll.lost:
        print(f"  LOST: {line}")
    lost_ms = 1000 * np.array(toll.lost_s or [0.0])
    note = (
        f"{kills // 2} kills of a step and {kills - kills // 2} of a stream recording (200, 30 and 20 Hz); of "
        f"{toll.pending} unfinished episodes with acknowledged samples, repair saved all but at most "
        f"{lost_ms.max():.0f} ms (median {np.median(lost_ms):.0f} ms)"
    )
    print(f"kill -9 x {toll.kills}: {len(toll.lost)} lost; {note}")
    config = {"pending": toll.pending, "pending_lost_ms_max": float(lost_ms.max())}
    return Figure("faults.kill9_lost", len(toll.lost), "1", toll.kills, command, seeds=(0,), config=config, notes=note)


def fuzzing(scratch: Path, damages: int, command: str) -> Figure:
    fuzzers = [
        Fuzzer(make_steps(scratch / "steps.zarr"), scratch),
        Fuzzer(make_streams(scratch / "streams.zarr"), scratch),
    ]
    bad = noticed = 0
    for seed in range(damages):
        outcome = fuzzers[seed % 2].run(seed)
        noticed += outcome.noticed
        if not outcome.clean:
            bad += 1
            print(f"  {outcome.damage}")
            for line in [*outcome.silent, *outcome.crashes, *outcome.unnamed, *outcome.harmed]:
                print(f"    {line}")
    note = (
        "silent wrong data, crashes, misplaced errors and harm done by repair; half step, half stream recordings; the "
        f"reader refused something in {noticed} (the others hit bytes that no reader of ours uses, such as padding)"
    )
    print(f"damage x {damages}: {bad} bad; {note}")
    return Figure("faults.fuzz_silent", bad, "1", damages, command, seeds=(0,), notes=note)


def cutting(scratch: Path, cuts: int, command: str) -> Figure | None:
    if shutil.which("strace") is None:
        print("power cuts: left out, strace is not installed (apt-get install strace)")
        return None
    count, complaints = 0, list[str]()
    kinds: tuple[Literal["steps", "streams"], ...] = ("steps", "streams")
    for kind in kinds:
        folder = scratch / kind
        folder.mkdir()
        done, found = record_and_cut(kind, folder, cuts)
        count, complaints = count + done, complaints + found
    for line in complaints:
        print(f"  LOST: {line}")
    note = (
        f"system calls of recording processes (strace), cut at up to {cuts} places each, un-synced operations lost "
        f"in {len(MODES)} ways ({', '.join(MODES)} kept)"
    )
    print(f"power cuts x {count}: {len(complaints)} bad; {note}")
    return Figure("faults.power_cut_lost", len(complaints), "1", count, command, seeds=(0,), notes=note)


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--scratch", type=Path, help="folder for the datasets; memory (/dev/shm) by default")
    options = parser.parse_args(argv)
    logging.disable(logging.WARNING)  # writers tell of the unfinished episodes that kills leave
    kills, damages, cuts = (12, 20, 10) if options.quick else (200, 300, 150)
    command = "python benchmarks/faults.py" + (" --quick" if options.quick else "")
    memory = Path("/dev/shm")
    scratch = Path(tempfile.mkdtemp(dir=options.scratch or (memory if os.access(memory, os.W_OK) else None)))
    try:
        for folder in ("kill", "fuzz", "cut"):
            (scratch / folder).mkdir()
        figures = [
            killing(scratch / "kill", kills, command),
            fuzzing(scratch / "fuzz", damages, command),
            cutting(scratch / "cut", cuts, command),
        ]
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    found = [figure for figure in figures if figure]
    write_figures(results_file("faults", options.quick), found)
    return int(any(figure.value for figure in found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
