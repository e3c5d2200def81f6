"""Human robosuite demonstrations: how many reach their task's success check after import, by states and by actions.

    python benchmarks/robosuite_replay.py            all eight folders of ../shared/data/robosuite_demos
    python benchmarks/robosuite_replay.py --quick    one demonstration of lifting

The demonstrations were recorded with robosuite 1.0, 1.4 and their time's MuJoCo; here they run in robosuite 1.5.2.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

from robolearn.core.errors import RobolearnError
from robolearn.datasets.convert.engine import convert_dataset
from robolearn.datasets.convert.protocol import ConvertOptions
from robolearn.evaluation.run.replay import WAYS, EpisodeReplay, replay_dataset, summarise
from robolearn.evaluation.statistics.figures import Figure, results_file, write_figures
from robolearn.evaluation.statistics.intervals import wilson_interval

FOLDERS = ("lift", "lift3", "stack", "nut-assembly", "pick-place", "door", "wipe", "handover")
SHARED = Path(os.environ.get("ROBOLEARN_SHARED_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
NOTES = {
    "states": (
        "share of demonstrations with a recorded state in which robosuite 1.5.2's success check holds; the dirt of "
        "wipe is not part of its states"
    ),
    "actions": (
        "share that reach the success check when the relabelled absolute targets run open loop from the first state, "
        "without any feedback; objects of demonstrations without a stored model have the shapes of start state 0, and "
        "those of pick-place overlap in robosuite 1.5.2's collision shapes, so they fly apart in the first step"
    ),
}


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description="Replay the human robosuite demonstrations.")
    parser.add_argument("--quick", action="store_true", help="one demonstration only")
    options = parser.parse_args(argv)
    demos = SHARED / "robosuite_demos"
    if not demos.is_dir():
        print(f"Skipped: {demos} is not here.")
        return 0
    folders = ("lift3",) if options.quick else FOLDERS
    replays = {name: replay_folder(demos / name, 1 if options.quick else None) for name in folders}
    everything = [replay for found in replays.values() for replay in found]
    summary = summarise(everything)
    command = "python benchmarks/robosuite_replay.py" + (" --quick" if options.quick else "")
    figures = []
    for way in WAYS:
        rate = wilson_interval(summary[way]["successes"], summary[way]["episodes"])
        figures.append(
            Figure(
                id=f"robosuite_demos.{way.removesuffix('s')}_replay",
                value=rate.value,
                unit="1",
                n=rate.n,
                interval=(rate.low, rate.high),
                command=command,
                config={
                    name: "{successes}/{episodes}".format(**summarise(found)[way]) for name, found in replays.items()
                },
                notes=f"{NOTES[way]}; interval: 95 % Wilson",
            )
        )
    write_figures(results_file("robosuite_demos", options.quick), figures)
    return 0


def replay_folder(folder: Path, max_episodes: int | None) -> list[EpisodeReplay]:
    """Import one folder into a temporary dataset and play it back both ways."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        dataset = Path(scratch) / f"{folder.name}.zarr"
        convert_dataset(folder, dataset, ConvertOptions(max_episodes=max_episodes))
        replays = replay_dataset(dataset)
    counts = ", ".join("{} {successes}/{episodes}".format(way, **c) for way, c in summarise(replays).items())
    print(f"{folder.name}: {counts} ({time.perf_counter() - started:.0f} s)", flush=True)
    return replays


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except RobolearnError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
