"""A rate that is not kept is said at once, with its reason, and kept with the episode."""

from __future__ import annotations

import re
from contextlib import nullcontext

import numpy as np
import pytest

from robolearn.core.clock import VirtualClock
from robolearn.datasets.read.reader import Dataset
from robolearn.datasets.tools.info import describe, to_text
from robolearn.hardware.input.protocol import Event, Motion
from robolearn.teleop.dataset import open_writer
from robolearn.teleop.pace import REMEDIES, Pace, describe_slow
from robolearn.teleop.recording import RecordingSession
from robolearn.teleop.sink import StepSink
from robolearn.teleop.target import SimTarget


class Screen:
    def __init__(self):
        self.said: list[str] = []

    def say(self, message: str) -> None:
        self.said.append(message)

    def tick(self, *_) -> None: ...

    def close(self) -> None: ...


def pace(ticks: int = 20, **spent_s: float) -> str | None:
    """What slows a 20 Hz loop whose ticks spend so long on each part."""
    clock = VirtualClock()
    kept = Pace(clock, 20.0)
    began_s = clock.now()
    for _ in range(ticks):
        for part, duration_s in spent_s.items():
            with kept.spending(part) if part in REMEDIES else nullcontext():
                clock.advance(duration_s)
    return kept.slowed_by(ticks, clock.now() - began_s)


@pytest.mark.parametrize(
    ("spent_s", "cause"),
    [
        ({"scene": 0.03, "viewer": 0.07}, "viewer"),
        ({"scene": 0.07, "viewer": 0.03}, "scene"),
        ({"scene": 0.01, "recording": 0.09}, "recording"),
        ({"scene": 0.03, "others": 0.07}, "machine"),
        ({"others": 0.1}, "machine"),
        ({"scene": 0.05}, None),
        ({"scene": 0.054}, None),  # within a tenth
        ({"scene": 0.057}, "scene"),
    ],
)
def test_what_takes_most_of_the_time_is_the_cause(spent_s, cause):
    assert pace(**spent_s) == cause


def test_nothing_is_said_before_a_second_has_passed():
    assert pace(9, viewer=0.1) is None
    assert pace(11, viewer=0.1) == "viewer"


def test_what_a_pause_spends_does_not_hide_a_slow_machine():
    clock = VirtualClock()
    kept = Pace(clock, 20.0)
    kept.counting = False
    with kept.spending("viewer"):
        clock.advance(100.0)
    kept.counting = True
    with kept.spending("viewer"):
        clock.advance(0.3)
    assert kept.slowed_by(10, 2.0) == "machine"


def test_an_episode_forgets_the_one_before():
    clock = VirtualClock()
    kept = Pace(clock, 20.0)
    with kept.spending("viewer"):
        clock.advance(10.0)
    kept.reset()
    with kept.spending("scene"):
        clock.advance(2.0)
    assert kept.slowed_by(1, 2.0) == "scene"


def record(env, device, path, screen: Screen, viewer_s: float, episodes: int) -> list[list[str]]:
    """Record at 20 Hz with a viewer that takes so long for each picture. Returns what had been said at each tick."""
    clock, target = VirtualClock(), SimTarget(env)
    said: list[list[str]] = []

    def viewer() -> bool:
        clock.advance(viewer_s)
        said.append(list(screen.said))
        return False

    with open_writer(path, target, 20.0, {}) as writer:
        RecordingSession(target, device, clock, 20.0, StepSink(writer), path, screen, viewer).run(episodes)
    return said


@pytest.fixture
def operator(played):
    """Moves for 30 ticks and saves."""
    return played([*[Motion(np.full(6, 0.1))] * 30, Motion(events=(Event.SAVE,))], autonomous=False)


def test_a_viewer_that_holds_the_loop_up_is_said_at_once_and_with_each_episode(point_env, operator, tmp_path):
    screen = Screen()
    said = record(point_env, operator, tmp_path / "d.zarr", screen, viewer_s=0.12, episodes=2)
    early = re.compile(r"recording at 8\.\d of 20 Hz: --no-viewer")
    assert not any(map(early.fullmatch, said[7]))  # before a second has passed
    assert any(map(early.fullmatch, said[12]))
    assert sum(map(bool, map(early.fullmatch, screen.said))) == 1  # once a session
    assert sum(bool(re.fullmatch(r"  recorded at 8\.\d of 20 Hz: --no-viewer", line)) for line in screen.said) == 2


def test_a_viewer_that_is_quick_enough_is_not_spoken_of(point_env, operator, tmp_path):
    screen = Screen()
    record(point_env, operator, tmp_path / "d.zarr", screen, viewer_s=0.01, episodes=1)
    assert not any("viewer" in line for line in screen.said)
    assert Dataset(tmp_path / "d.zarr").episodes[0]["slowed_by"] is None
    assert describe(tmp_path / "d.zarr")["slow"] is None


def test_it_is_kept_with_the_episode_and_shown_by_info(point_env, operator, tmp_path):
    record(point_env, operator, tmp_path / "d.zarr", Screen(), viewer_s=0.12, episodes=1)
    [recorded] = Dataset(tmp_path / "d.zarr").episodes
    assert (recorded["slowed_by"], recorded["rate_hz"]) == ("viewer", pytest.approx(8.2, abs=0.2))
    described = describe(tmp_path / "d.zarr")
    assert described["slow"] == {"episodes": 1, "slowest_hz": recorded["rate_hz"], "by": {"viewer": 1}}
    assert re.search(r"slow +1 episode, the slowest recorded at 8.\d of 20 Hz; held up by: viewer", to_text(described))


def test_each_cause_says_what_to_do():
    assert describe_slow("recorded", 8.31, 20.0, "viewer") == "recorded at 8.3 of 20 Hz: --no-viewer"
