import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
TINY_SERVER = Path(__file__).parents[1] / "serving" / "tiny_policy_server.py"


@pytest.fixture
def server_process() -> Iterator[Callable[..., tuple[subprocess.Popen[str], str]]]:
    """Start a policy server process of a tiny policy; gives the process and its address."""
    started: list[subprocess.Popen[str]] = []

    def start(port: int = 0) -> tuple[subprocess.Popen[str], str]:
        process = subprocess.Popen(
            [sys.executable, str(TINY_SERVER), "--port", str(port)], stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        assert process.stdout is not None
        return process, process.stdout.readline().split()[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()
