"""The demo's demonstrations through another action layout and back: how far are the targets from those recorded?

    python benchmarks/round_trip.py            100 demonstrations of put_on_plate, through joints and relative layouts
    python benchmarks/round_trip.py --quick    two of them

Both ways are `robolearn dataset relabel`'s, so what is measured has been stored as float32 in between.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
from _verbs import robolearn

from robolearn.core.errors import RobolearnError
from robolearn.core.rotation import angle_between, rot6d_to_matrix
from robolearn.datasets.read.reader import Dataset
from robolearn.datasets.tools.relabel import relabel
from robolearn.evaluation.statistics.figures import Figure, results_file, write_figures

LAYOUTS = ("joints", "joints.target", "pose.current.tool.axis_angle", "pose.target.euler", "pose.quaternion")
ASKED = "joints"


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description="Actions through another layout and back.")
    parser.add_argument("--quick", action="store_true", help="two demonstrations")
    options = parser.parse_args(argv)
    episodes = 2 if options.quick else 100
    with tempfile.TemporaryDirectory() as scratch:
        parent = Path(scratch) / "demonstrations.zarr"
        robolearn(
            "record", "--dataset", str(parent), "--env", "put_on_plate", "--operator", "scripted", "--num-episodes",
            str(episodes), "--speed", "max", "--no-viewer",
        )  # fmt: skip
        found = {layout: round_trip(Dataset(parent), layout, Path(scratch)) for layout in LAYOUTS}
        steps = Dataset(parent).num_steps
    for layout, (millimetres, degrees, missed) in found.items():
        print(f"{layout}: at most {millimetres:.2g} mm and {degrees:.2g} deg, {missed} out of reach", flush=True)
    command = "python benchmarks/round_trip.py" + (" --quick" if options.quick else "")
    figures = [
        Figure(
            id=f"kinematics.round_trip_{unit}",
            value=found[ASKED][place],
            unit=unit,
            n=steps,
            command=command,
            config={
                "episodes": episodes, "through": ASKED, "out_of_reach": found[ASKED][2],
                "through other layouts": {name: values[place] for name, values in found.items() if name != ASKED},
            },
            notes="largest over all steps, pose -> joints -> pose, stored as float32 in between",
        )
        for place, unit in enumerate(("mm", "deg"))
    ]  # fmt: skip
    write_figures(results_file("kinematics_round_trip", options.quick), figures)
    return 0


def round_trip(parent: Dataset, layout: str, scratch: Path) -> tuple[float, float, int]:
    """Largest distance in mm and angle in deg of a target, and how many were out of reach."""
    there, back = scratch / f"{layout}.zarr", scratch / f"{layout}.pose.zarr"
    first = relabel(parent, there, layout)
    second = relabel(Dataset(there), back, "pose")
    before, after = (dataset.array("action").astype(np.float64) for dataset in (parent, Dataset(back)))
    millimetres = 1e3 * np.linalg.norm(after[:, :3] - before[:, :3], axis=1).max()
    degrees = np.degrees(angle_between(*(rot6d_to_matrix(numbers[:, 3:9]) for numbers in (before, after))).max())
    return float(millimetres), float(degrees), first.counts.out_of_reach + second.counts.out_of_reach


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except RobolearnError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
