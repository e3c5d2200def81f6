"""The command line's verbs, as benchmarks call them."""

import subprocess
import sys


def robolearn(*arguments: str) -> None:
    """Run `robolearn ARGUMENTS` in a process of its own. Raises CalledProcessError when it fails."""
    subprocess.run([sys.executable, "-m", "robolearn", *arguments], check=True)
