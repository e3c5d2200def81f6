"""Environments of their own for other projects' readers and clients: what they need does not fit beside ours."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

# one pip call a line; robomimic without its dependencies, of which some have to be built and none is for reading.
# lerobot 0.3.3, the last release that reads v2.1, declares torch<2.8, of which there is no build without CUDA here: it
# goes in without its dependencies, beside those that its reader imports
REQUIREMENTS = {
    "zarr2": [["zarr==2.18.7", "numcodecs==0.15.2", "numpy==1.26.4", "numba"]],
    "robomimic": [
        ["torch==2.13.0"],
        ["numpy==1.26.4", "h5py", "tqdm", "termcolor", "tensorboard", "tensorboardX", "psutil", "imageio"],
        ["--no-deps", "robomimic==0.3.0"],
    ],
    "lerobot": [["lerobot==0.4.4"]],
    "lerobot_v21": [
        ["torch==2.13.0"],
        [
            "torch==2.13.0", "torchvision==0.28.0", "datasets==3.6.0", "huggingface-hub==0.36.2", "numpy==2.3.5",
            "av==18.1.0", "jsonlines", "draccus==0.10.0", "gymnasium<1", "einops", "termcolor", "deepdiff<9",
        ],
        ["--no-deps", "lerobot==0.3.3"],
    ],
    "openpi": [["openpi-client==0.1.2", "typing_extensions"]],  # the second it needs, but does not declare
}  # fmt: skip
READY = "ready.txt"


def environment(name: str, cache: Path) -> Path:
    """The python of environment `name` under `cache`, made when it is not there: minutes, and gigabytes for LeRobot.

    Raises CalledProcessError when pip cannot install it.
    """
    folder = cache / name
    python, ready = folder / "bin" / "python", folder / READY
    wanted = repr(REQUIREMENTS[name])
    if not ready.is_file() or ready.read_text() != wanted:
        print(f"making {folder}", flush=True)
        subprocess.run([getattr(sys, "_base_executable", sys.executable), "-m", "venv", str(folder)], check=True)
        for packages in REQUIREMENTS[name]:
            subprocess.run([str(python), "-m", "pip", "install", "-q", *packages], check=True)
        ready.write_text(wanted)
    return python


def has(python: Path, module: str) -> bool:
    """Whether a module can be imported there, with the libraries that it loads."""
    found = subprocess.run([str(python), "-c", f"import {module}"], capture_output=True, check=False)
    return found.returncode == 0
