"""Object poses from the simulated cell, as a motion-capture system or a marker tracker would give them."""

from __future__ import annotations

import numpy as np

from robolearn.core.device import Sample
from robolearn.core.errors import DeviceError
from robolearn.core.feature import Features
from robolearn.hardware.simulated_cell import SimulatedCell

_NAME = "observation.environment_state"


class SimulatedObjectTracker:
    """Gives `observation.environment_state`; see `robolearn.hardware.robot.Sensor`."""

    def __init__(self, cell: SimulatedCell):
        self.cell = cell

    @property
    def observation_features(self) -> Features:
        return {name: feature for name, feature in self.cell.features.items() if name == _NAME}

    def connect(self) -> None:
        self.cell.start()

    def read(self) -> Sample:
        found = self.cell.record("objects").read()
        if found is None:
            raise DeviceError("The object tracker has not published anything yet.")
        return self._sample(*found)

    def read_after(self, sequence: int) -> list[Sample]:
        return [self._sample(*found) for found in self.cell.record("objects").read_after(sequence)]

    @staticmethod
    def _sample(record: dict[str, np.ndarray], sequence: int) -> Sample:
        return Sample({_NAME: record[_NAME]}, float(record["sim_time_s"]), float(record["time_s"]), sequence)

    def disconnect(self) -> None:
        self.cell.close()
