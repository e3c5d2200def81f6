"""The server's process, seen from outside: its address, its memory, and what it wrote on stderr."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent


class Victim:
    """Use as a context manager."""

    def __enter__(self) -> Victim:
        self._errors = tempfile.TemporaryFile()
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"{HERE.name}.policy_server"],
            cwd=HERE.parent, stdout=subprocess.PIPE, stderr=self._errors, text=True,
        )  # fmt: skip
        assert self._process.stdout is not None
        self.address = self._process.stdout.readline().split()[-1]
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.close()

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def memory_mb(self) -> tuple[float, float]:
        """Resident now, and at most so far, in MB of 10**6 bytes."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        found = [re.search(rf"{name}:\s+(\d+) kB", status) for name in ("VmRSS", "VmHWM")]
        now, most = (int(match[1]) * 1024 / 1e6 for match in found if match)
        return now, most

    def errors(self) -> list[str]:
        """The lines of its stderr."""
        self._errors.seek(0)
        return self._errors.read().decode(errors="replace").splitlines()
