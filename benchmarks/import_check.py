"""What the check of imports costs: processor time of imports of real data, with it and without.

    python benchmarks/import_check.py            three times each, about three minutes
    python benchmarks/import_check.py --quick    once

Reads ../shared/data. The two are measured in turns, in one process, and the fastest of each counts: other programs on
the machine make both slower.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from robolearn.datasets.convert import engine
from robolearn.datasets.convert.check import EpisodeCheck, Seal
from robolearn.datasets.convert.protocol import ConvertOptions
from robolearn.evaluation.statistics.figures import Figure, results_file, write_figures

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
NAMES = ("g1_lerobot_v21", "bridge_rlds", "pusht.zarr", "pusht_lerobot_v3")
TIMES = 3


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="once each")
    options = parser.parse_args(argv)
    times = 1 if options.quick else TIMES
    command = "python benchmarks/import_check.py" + (" --quick" if options.quick else "")
    figures = []
    for name in NAMES:
        without_s, with_s = [], []
        for _ in range(times):
            with unchecked():
                without_s.append(seconds(DATA / name))
            with_s.append(seconds(DATA / name))
        ratio = min(with_s) / min(without_s)
        print(f"{name}: {min(without_s):.2f} s without, {min(with_s):.2f} s with the check: {ratio:.2f}")
        config = {"variant": name, "without_s": round(min(without_s), 3), "with_s": round(min(with_s), 3)}
        notes = "processor time of one process, the fastest of each"
        figures.append(Figure("convert.check_ratio", ratio, "1", times, command, config=config, notes=notes))
    write_figures(results_file("import_check", options.quick), figures)
    return 0


def seconds(source: Path) -> float:
    """Processor time of an import of the whole source."""
    with tempfile.TemporaryDirectory() as scratch:
        start = time.process_time()
        engine.convert_dataset(source, Path(scratch) / "out.zarr", ConvertOptions(workers=1))
        return time.process_time() - start


@contextmanager
def unchecked() -> Iterator[None]:
    """Imports as they would be without the check."""

    def nothing(*_: Any) -> list[str]:
        return []

    def sealed(self: EpisodeCheck, label: Any, data: Any, cut: int = 0) -> Seal:
        return Seal(len(data.timestamps))

    with (
        mock.patch.object(EpisodeCheck, "__call__", sealed),
        mock.patch.object(engine, "check_episodes", nothing),
        mock.patch.object(engine, "check_seals", nothing),
    ):
        yield


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
