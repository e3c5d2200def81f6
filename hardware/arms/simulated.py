"""The simulated arm: a Panda in the real-time simulated cell, through the cell's shared records.

Units are SI already. State comes at 250 Hz with the time it belongs to; the cell holds position by itself when
commands stop.
"""

from __future__ import annotations

import time

import numpy as np

from robolearn.core.device import Sample
from robolearn.core.errors import DeviceError
from robolearn.core.feature import Features
from robolearn.execution.command import Command
from robolearn.hardware.arms.protocol import ArmCapabilities
from robolearn.hardware.simulated_cell import SimulatedCell

_NAMES = ("observation.state", "observation.joint_position")


class SimulatedArm:
    """See `robolearn.hardware.arms.protocol.Arm`."""

    def __init__(self, cell: SimulatedCell):
        self.cell = cell

    @property
    def capabilities(self) -> ArmCapabilities:
        low, high = self.cell.description["workspace_low_m"], self.cell.description["workspace_high_m"]
        return ArmCapabilities(
            command_rate_hz=250.0,
            workspace_low_m=(low[0], low[1], low[2]),
            workspace_high_m=(high[0], high[1], high[2]),
            max_speed_m_s=1.0,
            max_rotation_rad_s=3.0,
            has_gripper=True,
            command_timeout_s=self.cell.description["command_timeout_s"],
        )

    @property
    def observation_features(self) -> Features:
        return {name: feature for name, feature in self.cell.features.items() if name in _NAMES}

    def connect(self) -> None:
        self.cell.start()

    def read(self) -> Sample:
        found = self.cell.record("state").read()
        if found is None:
            raise DeviceError("The simulated arm has not published its state yet.")
        return self._sample(*found)

    def read_after(self, sequence: int) -> list[Sample]:
        return [self._sample(*found) for found in self.cell.record("state").read_after(sequence)]

    @staticmethod
    def _sample(record: dict[str, np.ndarray], sequence: int) -> Sample:
        values = {name: record[name] for name in _NAMES if name in record}
        return Sample(values, float(record["sim_time_s"]), float(record["time_s"]), sequence)

    def command(self, command: Command) -> None:
        """Raises DeviceError for a command that is not finite: it is not sent."""
        if not all(np.isfinite(part).all() for part in (command.position_m, command.rotation, command.gripper)):
            raise DeviceError("The simulated arm was given a command that is not finite; it was not sent.")
        self._write(command.position_m, command.rotation, command.gripper, stop=False)

    def stop(self) -> None:
        self._write(np.zeros(3), np.eye(3), 0.0, stop=True)

    def disconnect(self) -> None:
        self.cell.close()

    def _write(self, position: np.ndarray, rotation: np.ndarray, gripper: float, stop: bool) -> None:
        self.cell.record("command").write(
            position=position, rotation=rotation, gripper=gripper, stop=stop, time_s=time.monotonic()
        )
