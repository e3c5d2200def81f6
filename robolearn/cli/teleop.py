"""`robolearn teleop`: drive an arm without recording."""

from __future__ import annotations

import dataclasses
import json

from robolearn.core.config import main_stderr, parse
from robolearn.core.errors import ConfigError
from robolearn.teleop.driving import drive
from robolearn.teleop.station import Speed, StationConfig, open_station


@dataclasses.dataclass(frozen=True)
class TeleopOptions:
    """Options of `robolearn teleop`."""

    env: str | None = None
    """Simulated scene, put_on_plate by default."""
    robot: str | None = None
    """Robot to drive in place of --env, such as sim:put_on_plate."""
    operator: str = "keyboard"
    """Who drives: keyboard, scripted, or a device of an installed package."""
    action: str | None = None
    """Layout of the actions that the hand's poses are turned into: joints, pose.target, ...; by default the scene's
    own."""
    duration_s: float | None = None
    """Stop after this many seconds."""
    fps: float | None = None
    """Ticks per second; the scene's own rate when left out."""
    init_state: int = 0
    """Start state of the first episode."""
    seed: int = 0
    """Of whatever is random in a scripted operator."""
    speed: Speed = "real"
    """real = real time; max = as fast as possible, for a scripted operator."""
    viewer: bool = True
    """Show the scene in a window where there is a display."""
    json: bool = False
    """Print a machine-readable summary on standard output."""


def main(argv: list[str]) -> int:
    options = parse(TeleopOptions, argv, prog="robolearn teleop", description="Drive an arm without recording.")
    if options.duration_s is not None and not options.duration_s > 0:
        raise ConfigError(f"--duration-s must be positive, found {options.duration_s:g}.")
    if options.robot is not None and options.env is not None:
        raise ConfigError("Give either --env (a scene) or --robot, found both.")
    env = options.env if options.env is not None or options.robot else "put_on_plate"
    config = StationConfig(
        env,
        options.operator,
        options.robot,
        options.fps,
        seed=options.seed,
        speed=options.speed,
        viewer=options.viewer,
        action=options.action,
    )
    with open_station(config) as station:
        summary = drive(station, options.duration_s, options.init_state)
    unjudged = f", {summary.unjudged} unjudged" if summary.unjudged else ""
    main_stderr(
        f"Drove {summary.driven_s:.1f} s at {summary.rate_hz:.2f} Hz with {summary.late_ticks} late ticks; "
        f"{summary.successes} of {summary.episodes - summary.unjudged} finished episodes were successes{unjudged}."
    )
    if options.json:
        print(json.dumps(dataclasses.asdict(summary)))
    return station.stop.exit_status
