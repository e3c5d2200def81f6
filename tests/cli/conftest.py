"""An X server without a screen, for windows that nobody looks at; and a machine that is never called busy."""

from __future__ import annotations

import math
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from robolearn.core import busy


@pytest.fixture(autouse=True)
def quiet_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests run beside other programs, and look at what else is said."""
    monkeypatch.setattr(busy, "BUSY_SHARE", math.inf)


@pytest.fixture
def display(real_time, tmp_path: Path) -> Iterator[tuple[dict[str, str], Path]]:
    """Environment variables of a program that shall use it, and the file (XWD) that holds what it shows."""
    if shutil.which("Xvfb") is None:
        pytest.skip("Xvfb is not installed (apt-get install xvfb)")
    read_end, write_end = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(write_end), "-screen", "0", "640x480x24", "-fbdir", str(tmp_path)],
        pass_fds=[write_end], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(write_end)
    with os.fdopen(read_end) as pipe:
        number = pipe.readline().strip()
    # other tests of this process may have chosen a rendering back end already
    environment = {k: v for k, v in os.environ.items() if k not in ("MUJOCO_GL", "PYOPENGL_PLATFORM")}
    yield {**environment, "DISPLAY": f":{number}"}, tmp_path / "Xvfb_screen0"
    server.terminate()
    server.wait()
