"""`robolearn record`: collect episodes into a dataset."""

from __future__ import annotations

import dataclasses
import json
import shlex
from pathlib import Path

import tyro

from robolearn.cli.dataset.making import progress_bar
from robolearn.core.config import main_stderr, parse
from robolearn.core.errors import ConfigError
from robolearn.core.interrupt import StopRequest
from robolearn.datasets.write.creation import gone_when_empty
from robolearn.sim.experts import gives_actions
from robolearn.sim.registry import task_text
from robolearn.teleop.dataset import check_dataset_path
from robolearn.teleop.demonstrations import record_demonstrations
from robolearn.teleop.open_sink import open_sink
from robolearn.teleop.operators import SCRIPTED
from robolearn.teleop.recording import RecordingSession, RecordSummary
from robolearn.teleop.station import Speed, StationConfig, open_station

DEFAULT_ENV = "put_on_plate"


@dataclasses.dataclass(frozen=True)
class RecordOptions:
    """Options of `robolearn record`."""

    dataset: Path
    """Folder of the dataset, by habit NAME.zarr."""
    env: str | None = None
    """Simulated scene, put_on_plate by default: time stands still between steps."""
    robot: str | None = None
    """Robot to drive in real time in place of --env, such as sim:put_on_plate; its devices are recorded at their own
    rates."""
    operator: str = "keyboard"
    """Who drives: keyboard, scripted, or a device of an installed package."""
    action: str | None = None
    """What recorded actions mean: pose, joints, pose.current, pose.target, calvin, ... (docs/actions.md); by default
    the scene's own."""
    num_episodes: int = 50
    """Episodes to record in this session; with --resume, this many more."""
    task: str | None = None
    """What is to be done, in words; stored with each episode."""
    fps: float | None = None
    """Steps per second; the scene's own rate when left out."""
    camera: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """A camera whose pictures are recorded; give it once for each camera."""
    image_size: int = 96
    """Pixels of the square pictures."""
    seed: int = 0
    """Of whatever is random in a scripted operator."""
    resume: bool = False
    """Record more into an existing dataset."""
    speed: Speed = "auto"
    """max = as fast as possible in simulated time; real = real time; auto = real time when a person drives."""
    viewer: bool = True
    """Show the scene in a window, in real time and where there is a display."""
    json: bool = False
    """Print a machine-readable summary on standard output."""


def main(argv: list[str]) -> int:
    options = parse(RecordOptions, argv, prog="robolearn record", description="Collect episodes into a dataset.")
    for option, number in (("--num-episodes", options.num_episodes), ("--image-size", options.image_size)):
        if number < 1:
            raise ConfigError(f"{option} must be at least 1, found {number}.")
    check_dataset_path(options.dataset, options.resume, _command(argv))
    if options.robot is not None and options.env is not None:
        raise ConfigError("Give either --env (a scene in simulated steps) or --robot (in real time), found both.")
    env_name = options.env if options.env is not None or options.robot else DEFAULT_ENV
    task = options.task
    if task is None:  # the same scene is the same task, in steps or in real time
        task = task_text(env_name) if env_name else _scene(options.robot or "").replace("_", " ")
    with gone_when_empty(options.dataset):
        if env_name and options.operator == SCRIPTED and gives_actions(env_name):
            summary, signalled = _demonstrate(options, env_name, task)
        else:
            summary, signalled = _record(options, env_name, task)
    main_stderr(_report(summary, options, argv))
    if options.json:
        print(json.dumps(dataclasses.asdict(summary)))
    return signalled if summary.stopped == "signal" else 0


def _record(options: RecordOptions, env_name: str | None, task: str) -> tuple[RecordSummary, int]:
    """Somebody moves the hand. Returns also the exit status for when a signal ended it."""
    config = StationConfig(
        env_name, options.operator, options.robot, options.fps, options.camera, options.image_size,
        options.seed, options.speed, options.viewer, options.action,
    )  # fmt: skip
    with open_station(config) as station, open_sink(options.dataset, station, config) as sink:
        session = RecordingSession(
            station.target, station.device, station.clock, station.rate_hz, sink, options.dataset, station.status,
            station.should_stop, task, options.seed,
        )  # fmt: skip
        return session.run(options.num_episodes), station.stop.exit_status


def _demonstrate(options: RecordOptions, env_name: str, task: str) -> tuple[RecordSummary, int]:
    """The scene's expert gives the actions itself. Raises ConfigError for options that only other operators have."""
    others = {"--fps": options.fps is not None, "--speed real": options.speed == "real", "--seed": options.seed != 0}
    for option in (name for name, given in others.items() if given):
        raise ConfigError(
            f"The scripted demonstrations of {env_name!r} follow from the start state alone, in simulated steps; leave "
            f"out {option}."
        )
    with StopRequest() as stop, progress_bar("recording") as progress:
        summary = record_demonstrations(
            env_name, options.num_episodes, options.dataset, action=options.action, cameras=options.camera,
            image_size=options.image_size, task=task, resume=options.resume, progress=progress, stop=stop,
        )  # fmt: skip
    return summary, stop.exit_status


def _report(summary: RecordSummary, options: RecordOptions, argv: list[str]) -> str:
    redone = []
    if summary.failed:
        redone.append(f"{summary.failed} that missed the task were done again")
    if summary.discarded:
        redone.append(f"{summary.discarded} were discarded")
    text = (
        f"Recorded {_episodes(summary.recorded)}, {summary.steps} steps at {summary.rate_hz:.2f} Hz with "
        f"{summary.late_ticks} late ticks, in {summary.wall_s:.1f} s{''.join('; ' + r for r in redone)}."
    )
    if summary.modes:
        counts = summary.modes.values()
        text += f"\n{len(counts)} behaviour modes, each shown {min(counts)} to {max(counts)} times."
    again = _command(argv, options.num_episodes - summary.recorded)
    if not options.dataset.exists():
        return text + f"\nNothing was saved, and no dataset is left; start again with: {again}"
    are = "is" if summary.total_episodes == 1 else "are"
    text += f"\n{_episodes(summary.total_episodes)} {are} saved in {summary.dataset}"
    return text + ("." if summary.stopped is None else f"; continue with: {again} --resume")


def _scene(robot: str) -> str:
    """`put_on_plate` of `sim:put_on_plate/ur5e`."""
    return robot.rpartition(":")[2].partition("/")[0]


def _episodes(count: int) -> str:
    return "1 episode" if count == 1 else f"{count} episodes"


def _command(argv: list[str], num_episodes: int | None = None) -> str:
    """The command line that was typed, without --resume, and for another number of episodes if one is given."""
    words = [word for word in argv if word != "--resume"]
    if num_episodes is not None:
        for position, word in enumerate(words):
            name, equals, _ = word.partition("=")
            if name.replace("_", "-") == "--num-episodes":
                del words[position : position + (1 if equals else 2)]
                break
        words += ["--num-episodes", str(num_episodes)]
    return shlex.join(["robolearn", "record", *words])
