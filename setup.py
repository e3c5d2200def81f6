"""Packaging: names, dependencies and the reason for each bound. Tool settings live in pyproject.toml."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (ROOT / "robolearn" / "__init__.py").read_text())[1]  # type: ignore[index]

CORE = [
    "numpy>=1.26",  # zarr 3 needs 1.26; 1.x and 2.x both work, [robosuite] holds it below 2
    "zarr>=3",  # the 3.x API
    "numcodecs>=0.14",  # what zarr 3 needs
    "opencv-python>=4.9",  # the -headless wheel writes the same folder: never install both
    "tyro>=1.0",  # core/config.py reads the layout of its error messages
    "rich>=13",
    "msgpack>=1.0.5",  # refuses over-long input by default, and reads timestamps
    "websockets>=15",  # websockets.sync and websockets.asyncio in their present form
    "PyYAML>=6",
    "packaging>=22",  # `robolearn doctor` compares versions with it; zarr brings it anyway
    "safetensors>=0.4.3",  # first with safetensors.numpy that is clean under numpy 2
]

# Install torch by its exact pin before anything that asks for a range (constraints.txt): another request
# would take the newest build, with gigabytes of CUDA packages.
TRAIN = [
    "torch>=2.5",
    "diffusers>=0.31",  # --policy.scheduler CLASS of the diffusion policy; imported when one of its classes is named
    "tensorboard>=2.17",
    "simplejpeg>=1.8",  # decodes JPEG into the batch, a fifth faster than OpenCV, same pixels; numpy 2 since 1.8
]

SIM = [
    "mujoco>=3.3,<5",  # model specifications as they are used here; 4.0 is tried
    "mujoco-menagerie>=2026.10",  # the resolver of robot models knows it; robots and scenes of it come with later work
    "gymnasium>=1.0,<2",  # the 1.x reset/step API; gym-pusht stops below 2
    "gym-pusht>=0.1.6,<0.2",  # holds opencv-python below 5, pygame below 2.7 and pymunk below 7 (other contacts)
    "av>=12",  # rollout videos; its wheels bundle FFmpeg
]

# Of its own, and not in `all`: it holds everything else back. Nothing but the environments robosuite/TASK needs it.
ROBOSUITE = [
    *SIM,
    "robosuite==1.5.2",  # the adapter relies on its internals; pulls mink==0.0.5 (numpy<2) and, through pynput,
    # evdev, which has no wheel: gcc and the kernel headers must be there (tools/bootstrap.sh sees to it)
    "robosuite-models==1.0.0",  # only release
    "mujoco<3.10",  # robosuite breaks at 3.10 (mj_fullM's signature), undeclared
    "pyarrow<26",  # 26 refuses numpy 1 at import, undeclared
]

EXTRAS = {
    "train": TRAIN,
    "sim": SIM,
    "realsense": ["pyrealsense2>=2.55"],  # first with wheels for Python 3.12; brings librealsense with it. So far only
    # `robolearn doctor` asks for it: it comes to use with the camera drivers
    "remote": [
        "fsspec>=2023.10",  # datasets at URLs; its cat_ranges then takes whole files
        "aiohttp>=3.9",  # fsspec's http; s3fs, gcsfs and the like are for the user to choose
    ],
    "convert": [
        "pyarrow>=15",
        "av>=12",
        "h5py>=3.10",
        "google-crc32c>=1.5",  # checksums of tfrecord; zarr brings it, too
    ],
}
EXTRAS["all"] = sorted({requirement for group in EXTRAS.values() for requirement in group})
EXTRAS["robosuite"] = ROBOSUITE
EXTRAS["umi"] = ["imagecodecs>=2023.9.18"]  # JPEG XL and JPEG 2000 of UMI's and diffusion_policy's image buffers
EXTRAS["dev"] = [
    "pytest>=8",
    "pytest-xdist>=3.6",  # tools/test.sh runs what needs no real time on all cores; since 3.6 tests run in the main
    # thread, which alone may handle signals
    "hypothesis>=6.100",
    "scipy>=1.11",  # oracle of the rotation and statistics tests
    "mink>=0.0.5",  # 1.x is the oracle of our inverse kinematics; robosuite holds 0.0.5, with which those tests skip
    "ruff>=0.12",
    "mypy>=1.15",
    "setuptools>=77",  # builds the wheel without a build environment of its own; SPDX licence field
]

setup(
    name="robolearn",
    version=VERSION,
    description="Teleoperate, record, train, evaluate, serve and deploy robot manipulation policies",
    long_description=(ROOT / "README.md").read_text() if (ROOT / "README.md").exists() else "",
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.11",  # zarr 3 needs it
    # robolearn/{hardware,sim,datasets} are symlinks; discovery follows them, so archives hold real files
    packages=find_packages(include=["robolearn", "robolearn.*"]),
    package_data={"": ["py.typed", "*.xml", "*.json", "*.yaml", "*.html", "*.css", "*.js", "*.svg", "page/*"]},
    install_requires=CORE,
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["robolearn = robolearn.cli.main:main"]},
)
