"""The simulated cell as seen from outside: starts its process, describes it, resets its scene, tells its outcome.

`SimulatedArm` and `ObjectTracker` read and write its shared records, as drivers of physical devices would
talk to a controller box. Protocol: `robolearn.sim.realtime`, which runs in the other process.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import selectors
import subprocess
import time
from typing import Any

from robolearn.core.errors import DeviceError, one_line
from robolearn.core.feature import Feature, Features, features
from robolearn.core.process import LastLine, end_in_words, python_child, stop_process
from robolearn.core.shared_record import SharedRecord
from robolearn.core.shared_segment import remove_left_over
from robolearn.hardware.robot import Outcome

_PROCESS = "robolearn.sim.realtime"
# a 6 x 6 solve handed to a second BLAS thread has been seen to wait 100 ms for it on a busy machine
_ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
_COMMAND_FIELDS = {
    "position": ((3,), "float64"),
    "rotation": ((3, 3), "float64"),
    "gripper": ((), "float64"),
    "stop": ((), "uint8"),
    "time_s": ((), "float64"),
}
_WRITTEN_BY_CELL = ("state", "objects", "task")
_REQUEST_FIELDS = {"reset": ((), "int64"), "init_state": ((), "int64")}


class SimulatedCell:
    """One simulated cell; the devices in it share this object. `start` and `close` may be called by each of them.

    Its process has the scheduling priority of the thread that starts it, as neither may keep the other from running.

    Args:
        env: environment to run, as for `robolearn.sim.make_env`.
        start_timeout_s: longest wait for the process to be ready.
    """

    def __init__(self, env: str, start_timeout_s: float = 30.0):
        self.env = env
        self.start_timeout_s = start_timeout_s
        self.name = f"robolearn_{os.getpid()}_{secrets.token_hex(4)}"
        self.process: subprocess.Popen[str] | None = None
        self._said: LastLine | None = None
        self._description: dict[str, Any] = {}
        self._records: dict[str, SharedRecord] = {}
        self._resets = 0

    def start(self) -> None:
        """Start the process and wait until its scene is running. Raises DeviceError with the process's own words."""
        if self.process is not None:
            return
        self._records["command"] = SharedRecord.create(f"{self.name}_command", _COMMAND_FIELDS)
        self._records["request"] = SharedRecord.create(f"{self.name}_request", _REQUEST_FIELDS)
        self.process = python_child(
            _PROCESS, ["--env", self.env, "--name", self.name],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace",
            env=_ONE_THREAD,
        )  # fmt: skip
        assert self.process.stderr is not None
        self._said = LastLine(self.process.stderr)
        try:
            self._description = self._greeting(self.process)
            for part in _WRITTEN_BY_CELL:
                with contextlib.suppress(DeviceError):  # a scene without objects has no such record
                    self._records[part] = SharedRecord.open(f"{self.name}_{part}")
        except BaseException:
            self.close()
            raise

    def _greeting(self, process: subprocess.Popen[str]) -> dict[str, Any]:
        assert process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            if not selector.select(self.start_timeout_s):
                raise DeviceError(f"The simulated cell was not ready within {self.start_timeout_s:g} s.")
        line = process.stdout.readline()
        if not line:
            process.wait()
            raise DeviceError(
                f"The simulated cell did not start: {self._last_line or end_in_words(process.returncode)}"
            )
        return json.loads(line)

    @property
    def _last_line(self) -> str:
        return one_line(self._said.text()) if self._said is not None else ""

    @property
    def description(self) -> dict[str, Any]:
        """Workspace, rates and features, from the process. Raises DeviceError before `start`."""
        if not self._description:
            raise DeviceError("The simulated cell is not running; connect it first.")
        return self._description

    @property
    def features(self) -> Features:
        """All observation features of the cell, at the rate at which it publishes them."""
        rate_hz = self.description["rate_hz"]
        return features(Feature.from_dict({**f, "rate_hz": rate_hz}) for f in self.description["features"])

    def record(self, part: str) -> SharedRecord:
        """A shared record of the running cell. Raises DeviceError when the cell is not running or has died."""
        self.check_alive()
        if part not in self._records:
            raise DeviceError(f"The simulated cell {self.env!r} has no {part!r} record.")
        return self._records[part]

    def check_alive(self) -> None:
        """Raise DeviceError when the process has ended."""
        if self.process is None:
            raise DeviceError("The simulated cell is not running; connect it first.")
        if self.process.poll() is not None:
            said = f": {line}" if (line := self._last_line) else "."
            raise DeviceError(f"The simulated cell has ended ({end_in_words(self.process.returncode)}){said}")

    @property
    def time_limit_s(self) -> float:
        """How long an episode of this environment may take."""
        return self.description["max_steps"] / self.description["control_hz"]

    def prepare(self, init_state: int, timeout_s: float = 10.0) -> None:
        """Put the scene into a start state and wait until that has happened."""
        self._resets += 1
        self.record("request").write(reset=self._resets, init_state=init_state)
        deadline = time.monotonic() + timeout_s
        while self._task()["reset"] != self._resets:
            if time.monotonic() > deadline:
                raise DeviceError(f"The simulated cell did not reset its scene within {timeout_s:g} s.")
            time.sleep(0.002)

    def outcome(self) -> Outcome:
        """How the task stands now."""
        task = self._task()
        return Outcome(bool(task["success"]), float(task["score"]))

    def _task(self) -> dict[str, Any]:
        found = self.record("task").read()
        if found is None:
            raise DeviceError("The simulated cell has not published its task yet.")
        return found[0]

    def close(self) -> None:
        """End the process and remove the records. Safe to call twice."""
        process, self.process = self.process, None
        for record in self._records.values():  # before the process ends: what is there then was left by the dead
            record.close()
        self._records.clear()
        if process is not None:
            stop_process(process)
            if process.stdout is not None:
                process.stdout.close()
        if process is not None and process.returncode < 0:  # killed: it could not clean up behind itself
            remove_left_over()
        self._description = {}
