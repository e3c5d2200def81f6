"""`robolearn dataset relabel`: a dataset whose actions say the same in another layout."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from robolearn.cli.dataset.making import print_made, progress_bar, robots_of
from robolearn.core.config import main_stderr, parse, to_dict
from robolearn.core.errors import ConfigError, RobolearnError

if TYPE_CHECKING:
    from robolearn.datasets.tools.relabel import Relabelled


@dataclass(frozen=True)
class RelabelOptions:
    """Options of `robolearn dataset relabel`."""

    path: tyro.conf.Positional[str]
    """A dataset (folder or URL); it stays as it is."""
    output: Path
    """Dataset to make, by habit NAME.zarr; must not exist."""
    action: str
    """New layout of the actions, such as joints, pose.current.tool.axis_angle or calvin."""
    stored: str | None = None
    """What the actions are, where the dataset does not say it; in the same words."""
    robot: tuple[str, ...] = ()
    """Which robot it is, where the dataset does not say it: NAME, or PREFIX=NAME for each of several arms."""
    arm: str | None = None
    """Of several arms the one to keep; all by default."""
    replay: int = 10
    """Episodes of the copy to replay in the dataset's scene, where it is there; 0 replays none."""
    json: bool = False
    """Print a machine-readable report."""


def main(argv: list[str]) -> int:
    """Make a dataset whose actions are written in another layout."""
    told = "Make a dataset whose actions are written in another layout."
    options = parse(RelabelOptions, argv, "robolearn dataset relabel", told)
    if options.replay < 0:
        raise ConfigError(f"--replay takes a number of episodes, 0 for none; found {options.replay}.")
    from robolearn.datasets.read.reader import Dataset
    from robolearn.datasets.tools.relabel import relabel

    with progress_bar("Relabelling") as progress:
        found = relabel(
            Dataset(options.path), options.output, options.action, stored=options.stored,
            robots=robots_of(options.robot), arm=options.arm, progress=progress,
        )  # fmt: skip
    replayed = replay_of(options.output, options.replay, options.json)
    if options.json:
        report = {
            **to_dict(found.made), "conversion": found.conversion, "counts": asdict(found.counts),
            "errors": asdict(found.errors), "replay": replayed,
        }  # fmt: skip
        print(json.dumps(report))
        return 0
    print_made([found.made], as_json=False)
    for line in lines(found, replayed):
        print(line)
    return 0


def lines(found: Relabelled, replayed: dict[str, Any] | None) -> list[str]:
    """What was done, for people."""
    said = [f"{found.conversion[:1].upper()}{found.conversion[1:]}."]
    if error := found.errors.describe():
        said.append(f"Largest error of a target: {error}.")
    if counted := found.counts.describe():
        said.append(counted)
    if replayed is not None and replayed["deviation"] is not None:
        said.append(
            f"Replayed open loop in {replayed['environment']}: {replayed['successes']} of {replayed['episodes']} "
            f"episodes succeed ({replayed['recorded_successes']} as recorded); largest deviation from a recorded state "
            f"{replayed['deviation']:.3g}."
        )
    return said


def replay_of(path: Path, most: int, silent: bool) -> dict[str, Any] | None:
    """How the first episodes of a simulated dataset replay; None, and a note, where they cannot be."""
    from robolearn.datasets.read.reader import Dataset

    dataset = Dataset(path)
    if not most or dataset.sim_env is None:
        return None
    try:
        from robolearn.evaluation.run.replay import replay_dataset

        with progress_bar("Replaying") as progress:
            chosen = list(range(min(most, dataset.num_episodes)))
            replays = replay_dataset(
                path, ("actions",), chosen, on_episode=lambda r: progress(r.episode + 1, len(chosen))
            )
    except (RobolearnError, ImportError) as error:
        if not silent:
            main_stderr(f"note: not replayed: {error}")
        return None
    outcomes = [replay.actions for replay in replays if replay.actions is not None]
    deviations = [outcome.deviation for outcome in outcomes if outcome.deviation is not None]
    return {
        "environment": dataset.sim_env["name"],
        "episodes": len(outcomes),
        "successes": sum(outcome.success for outcome in outcomes),
        "recorded_successes": sum(bool(replay.recorded_success) for replay in replays),
        "deviation": max(deviations, default=None),
    }
