"""What `robolearn doctor` looks at: machine, packages, rendering, learning, devices. Nothing here raises."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from robolearn.core.errors import ConfigError, DeviceError, MissingDependencyError
from robolearn.core.provenance import machine
from robolearn.core.realtime import raised_priority
from robolearn.core.shared_record import SharedRecord
from robolearn.hardware.discovery import KINDS, find_devices

Status = Literal["ok", "info", "warn", "bad"]
OPENCV_WHEELS = ("opencv-python", "opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless")


@dataclass(frozen=True)
class Check:
    """One finding.

    Attributes:
        status: `ok`; `info`: neither good nor bad; `warn`: works, but worse than it could; `bad`: broken.
        advice: what to type, for `warn` and `bad`.
    """

    group: str
    name: str
    status: Status
    found: str
    advice: str = ""


def all_checks() -> Iterator[Check]:
    """Every check, in the order in which a person would ask."""
    for checks in (machine_checks, package_checks, rendering_checks, learning_checks, device_checks):
        yield from checks()


def machine_checks() -> Iterator[Check]:
    group = "Machine"
    yield Check(group, "python", "ok", f"{sys.version.split()[0]}, {sys.prefix}")
    yield Check(group, "hardware", "ok", machine())
    yield _shared_memory(group)
    yield _real_time_priority(group)
    display = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    yield Check(group, "display", "info", f"{display}" if display else "none: the simulator's viewer cannot open")


def _shared_memory(group: str) -> Check:
    try:
        record = SharedRecord.create(f"robolearn_doctor_{os.getpid()}", {"x": ((), "float64")})
        record.close()
    except DeviceError as error:
        return Check(group, "shared memory", "bad", str(error), "mount a tmpfs at /dev/shm, of 256 MiB or more")
    folder = Path("/dev/shm")
    free = shutil.disk_usage(folder).free / 2**20 if folder.is_dir() else float("inf")
    if free < 256:
        return Check(group, "shared memory", "warn", f"{free:.0f} MiB free", "start the container with --shm-size=1g")
    return Check(group, "shared memory", "ok", "works")


def _real_time_priority(group: str) -> Check:
    with raised_priority() as priority:
        pass
    if priority.startswith("SCHED_FIFO"):
        return Check(group, "real-time priority", "ok", f"allowed ({priority})")
    user = os.environ.get("USER", "USER")
    advice = f"as root: echo '{user} - rtprio 80' >> /etc/security/limits.conf, then log in again"
    return Check(group, "real-time priority", "info", f"not allowed: loops run at {priority} priority", advice)


def package_checks() -> Iterator[Check]:
    """Our own requirements against what is installed, then clashes among the packages that they pull."""
    group = "Packages"
    try:
        ours = [Requirement(text) for text in metadata.requires("robolearn") or []]
    except metadata.PackageNotFoundError:
        yield Check(group, "robolearn", "bad", "used without being installed", "pip install -e .")
        return
    extras = [extra for extra in _extras("robolearn") if extra not in ("all", "dev")]
    wanted_by = {extra: [r for r in ours if _applies(r, extra)] for extra in ("", *extras)}
    in_use = {extra for extra in extras if _is_in_use(extra, wanted_by)}
    seen = set()
    for extra, requirements in wanted_by.items():
        for requirement in requirements:
            if requirement.name not in seen:
                seen.add(requirement.name)
                for other in (r for used in in_use for r in wanted_by[used] if r.name == requirement.name):
                    requirement.specifier &= other.specifier
                yield _package(group, requirement, extra)
    yield from _clashes(group, [requirement.name for requirement in ours])
    yield from _pins(group, Path(__file__).resolve().parents[2] / "constraints.txt")
    opencv = [name for name in OPENCV_WHEELS if _version(name)]
    if len(opencv) > 1:
        yield Check(
            group,
            "opencv",
            "warn",
            f"{' and '.join(opencv)} are both installed and overwrite one another",
            f"pip uninstall -y {' '.join(opencv)} && pip install opencv-python",
        )


def _is_in_use(extra: str, wanted_by: dict[str, list[Requirement]]) -> bool:
    """Whether something is installed that only this extra names: then its bounds of other packages hold, too."""
    others = {r.name for other, requirements in wanted_by.items() if other != extra for r in requirements}
    return any(r.name not in others and _version(r.name) for r in wanted_by[extra])


def _pins(group: str, constraints: Path) -> Iterator[Check]:
    """In a checkout: what is not the version that the project is tested with."""
    if not constraints.is_file():
        return
    pins = dict(line.split("==") for line in constraints.read_text().split() if "==" in line)
    found = {name: (_version(name) or "").partition("+")[0] for name in pins}
    others = [
        f"{name} {version} (pinned {pins[name]})" for name, version in found.items() if version not in ("", pins[name])
    ]
    if others:
        advice = "pip install -c constraints.txt -e '.[all,dev]'"
        yield Check(group, "constraints.txt", "warn", "other versions than tested: " + ", ".join(others), advice)
    else:
        yield Check(group, "constraints.txt", "ok", "every installed package has its pinned version")


def _package(group: str, requirement: Requirement, extra: str) -> Check:
    version, bounds = _version(requirement.name), str(requirement.specifier)
    if version is None:
        if extra:
            return Check(
                group,
                requirement.name,
                "info",
                "not installed",
                f"pip install '.[{extra}]' -c constraints.txt, when it is needed",
            )
        return Check(group, requirement.name, "bad", "not installed", f"pip install '{requirement.name}{bounds}'")
    if not requirement.specifier.contains(version, prereleases=True):
        return Check(
            group,
            requirement.name,
            "bad",
            f"{version}, but robolearn needs {bounds}",
            f"pip install '{requirement.name}{bounds}'",
        )
    return Check(group, requirement.name, "ok", f"{version} ({bounds})")


def _clashes(group: str, roots: list[str]) -> Iterator[Check]:
    """Installed packages, reachable from `roots`, whose own requirements another installed version breaks."""
    waiting, seen = [(name, "") for name in roots], set()
    while waiting:
        name, extra = waiting.pop()
        if (canonicalize_name(name), extra) in seen or _version(name) is None:
            continue
        seen.add((canonicalize_name(name), extra))
        for requirement in map(Requirement, metadata.requires(name) or []):
            version = _version(requirement.name)
            if not _applies(requirement, extra) or version is None:
                continue
            waiting += [(requirement.name, e) for e in ("", *requirement.extras)]
            if not requirement.specifier.contains(version, prereleases=True):
                yield Check(
                    group,
                    requirement.name,
                    "bad",
                    f"{version}, but {name} {_version(name)} needs {requirement.specifier}",
                    f"pip install '{requirement.name}{requirement.specifier}'",
                )


def _extras(name: str) -> list[str]:
    return metadata.metadata(name).get_all("Provides-Extra") or []


def _applies(requirement: Requirement, extra: str) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": extra})


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


_RENDER = """
from robolearn.sim.rendering import ensure_backend
ensure_backend()
import mujoco
model = mujoco.MjModel.from_xml_string('<mujoco><worldbody><geom size="1" rgba="1 1 1 1"/></worldbody></mujoco>')
data = mujoco.MjData(model)
mujoco.mj_forward(model, data)
with mujoco.Renderer(model, 8, 8) as renderer:
    renderer.update_scene(data)
    assert renderer.render().shape == (8, 8, 3)
"""


def rendering_checks() -> Iterator[Check]:
    """The choice, and a try in another process: a broken driver may end the process that asks it."""
    group = "Rendering"
    if _version("mujoco") is None:
        yield Check(group, "back-end", "info", "MuJoCo is not installed", "pip install '.[sim]' -c constraints.txt")
        return
    from robolearn.sim import rendering  # needs the [sim] extra

    try:
        choice = rendering.choose_backend()
    except (ConfigError, MissingDependencyError) as error:
        yield Check(group, "back-end", "bad", str(error), "unset MUJOCO_GL")
        return
    if choice.backend is None:
        found = f"none: {choice.reason}; state-only simulation works"
        yield Check(group, "back-end", "bad", found, rendering.APT_LINE)
        return
    yield Check(group, "back-end", "ok", f"{choice.backend}: {choice.reason}")
    start = time.monotonic()
    try:
        result = subprocess.run([sys.executable, "-c", _RENDER], capture_output=True, text=True, timeout=60)
        problem = (result.stderr.strip().splitlines() or [f"exit {result.returncode}"])[-1] if result.returncode else ""
    except subprocess.TimeoutExpired:
        problem = "no picture within 60 s"
    if problem:
        yield Check(group, "test picture", "bad", problem, f"{rendering.APT_LINE}; or try MUJOCO_GL=osmesa")
    else:
        yield Check(group, "test picture", "ok", f"rendered in {time.monotonic() - start:.1f} s, start included")


def learning_checks() -> Iterator[Check]:
    group = "Learning"
    if _version("torch") is None:
        yield Check(
            group, "torch", "info", "not installed", "pip install '.[train]' -c constraints.txt, when it is needed"
        )
        return
    try:
        import torch
    except Exception as error:  # a broken wheel fails in many ways
        yield Check(group, "torch", "bad", f"cannot be imported: {error}", "reinstall it: see constraints.txt")
        return
    yield Check(group, "torch", "ok", f"{torch.__version__}, {torch.get_num_threads()} threads")
    if torch.cuda.is_available():
        names = ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
        yield Check(group, "cuda", "ok", names)
    else:
        yield Check(group, "cuda", "info", "none: training and inference use the processor")


# kind -> (words, group of users that may open it)
_DEVICES = {
    "realsense": ("RealSense cameras", "plugdev"),
    "input": ("input devices", "input"),
    "hidraw": ("raw HID devices", "plugdev"),
    "video": ("video devices", "video"),
    "serial": ("serial ports", "dialout"),
}


def device_checks() -> Iterator[Check]:
    """One line a kind of device, one for each device that this user may not open."""
    group = "Devices"
    found = find_devices()
    for kind in KINDS:
        words, user_group = _DEVICES[kind]
        ours = [device for device in found if device.kind == kind]
        if not ours and kind == "realsense" and _version("pyrealsense2") is None:
            yield Check(
                group, words, "info", "pyrealsense2 is not installed", "pip install '.[realsense]' -c constraints.txt"
            )
            continue
        listed = "; ".join(f"{device.path} {device.name}".strip() for device in ours if device.accessible)
        closed = [device for device in ours if not device.accessible]
        if listed or not closed:
            yield Check(group, words, "ok" if listed else "info", listed or "none")
        for device in closed:
            advice = f"sudo usermod -aG {user_group} $USER, then log in again"
            yield Check(group, words, "warn", f"{device.path} {device.name} may not be opened by you", advice)
