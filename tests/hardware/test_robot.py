"""Several devices as one robot: one sample, and nothing left connected whatever fails."""

from __future__ import annotations

import numpy as np
import pytest

from robolearn.core.device import Sample
from robolearn.core.errors import DeviceError, FeatureError
from robolearn.core.feature import Feature, features
from robolearn.hardware.robot import Robot


class Part:
    """A device with one feature that writes down what is done to it."""

    def __init__(self, name: str, log: list[str], host_time_s: float = 0.0, fails_to: str = ""):
        self.name, self.log, self.host_time_s, self.fails_to = name, log, host_time_s, fails_to
        self.observation_features = features([Feature(f"observation.{name}", (1,))])

    def _do(self, what: str) -> None:
        if what == self.fails_to:
            raise DeviceError(f"{self.name} cannot {what}.")
        self.log.append(f"{what} {self.name}")

    def connect(self) -> None:
        self._do("connect")

    def disconnect(self) -> None:
        self._do("disconnect")

    def read(self) -> Sample:
        return Sample({f"observation.{self.name}": np.zeros(1)}, self.host_time_s + 5, self.host_time_s, sequence=7)


def robot_of(*parts: Part) -> Robot:
    return Robot("test", parts[0], parts[1:], scene=None)  # type: ignore[arg-type]


def test_the_merged_sample_is_as_old_as_its_oldest_part():
    log: list[str] = []
    sample = robot_of(Part("arm", log, 2.0), Part("camera", log, 1.5), Part("tracker", log, 1.9)).read()
    assert list(sample.values) == ["observation.arm", "observation.camera", "observation.tracker"]
    assert (sample.host_time_s, sample.device_time_s, sample.sequence) == (1.5, 7.0, 7)


def test_two_devices_with_one_feature_are_refused():
    log: list[str] = []
    with pytest.raises(FeatureError, match="declared twice"):
        _ = robot_of(Part("arm", log), Part("arm", log)).observation_features


def test_what_was_connected_is_disconnected_when_a_later_part_fails():
    log: list[str] = []
    parts = Part("arm", log), Part("camera", log, fails_to="connect"), Part("tracker", log)
    with pytest.raises(DeviceError, match="camera cannot connect"):
        robot_of(*parts).connect()
    assert log == ["connect arm", "disconnect arm"]


def test_the_arm_is_disconnected_last_and_also_when_a_sensor_fails_to():
    log: list[str] = []
    parts = Part("arm", log), Part("camera", log, fails_to="disconnect"), Part("tracker", log)
    robot = robot_of(*parts)
    robot.connect()
    log.clear()
    with pytest.raises(DeviceError, match="camera cannot disconnect"):
        robot.disconnect()
    assert log == ["disconnect tracker", "disconnect arm"]
