"""`robolearn record --operator scripted` for scenes whose expert gives the actions itself."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import TYPE_CHECKING

from robolearn.cli.dataset.making import progress_bar
from robolearn.core.config import main_stderr
from robolearn.core.errors import ConfigError
from robolearn.core.interrupt import StopRequest
from robolearn.sim.experts.demonstrations import DemonstrationSummary, record_demonstrations

if TYPE_CHECKING:
    from robolearn.cli.record import RecordOptions


def record(options: RecordOptions, env: str, command: Callable[[int], str]) -> int:
    """Record, report and return the exit status.

    Args:
        command: what to type for so many more episodes, without `--resume`.

    Raises ConfigError for options that only other operators have.
    """
    others = {"--fps": options.fps is not None, "--speed real": options.speed == "real", "--seed": options.seed != 0}
    for option in (name for name, given in others.items() if given):
        raise ConfigError(
            f"The scripted demonstrations of {env!r} follow from the start state alone, in simulated steps; leave out "
            f"{option}."
        )
    with StopRequest() as stop, progress_bar("recording") as progress:
        summary = record_demonstrations(
            env, options.num_episodes, options.dataset, cameras=options.camera, image_size=options.image_size,
            task=options.task, resume=options.resume, progress=progress, stop=stop,
        )  # fmt: skip
    main_stderr(_report(summary))
    if summary.stopped:
        main_stderr(f"Continue with: {command(options.num_episodes - summary.recorded)} --resume")
    if options.json:
        print(json.dumps(dataclasses.asdict(summary)))
    return stop.exit_status if summary.stopped else 0


def _report(summary: DemonstrationSummary) -> str:
    rate = summary.steps / summary.wall_s
    text = (
        f"Recorded {summary.recorded} demonstrations, {summary.steps} steps, in {summary.wall_s:.1f} s "
        f"({rate:.0f} steps/s); {summary.dropped} that failed were dropped."
    )
    if summary.modes:
        counts = summary.modes.values()
        text += f"\n{len(counts)} behaviour modes, each shown {min(counts)} to {max(counts)} times."
    return text + f"\n{summary.total_episodes} episodes are saved in {summary.dataset}."
