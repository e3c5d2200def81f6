"""Which devices this machine sees: RealSense cameras, input devices, raw HID, video and serial ports.

Reads the kernel's own listings (Linux); opens nothing but librealsense's device list.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from robolearn.core.errors import one_line

# kind -> (sysfs class, file under the class entry that names the device, folder of its node)
_SYSFS = {
    "input": ("input", "device/name", "dev/input"),
    "hidraw": ("hidraw", "device/uevent", "dev"),
    "video": ("video4linux", "name", "dev"),
}
KINDS = ("realsense", *_SYSFS, "serial")


@dataclass(frozen=True)
class FoundDevice:
    """One device.

    Attributes:
        kind: one of `KINDS`.
        path: device node or serial number; stable across reboots where the system offers that.
        name: as the device calls itself.
        accessible: whether this user may open it.
    """

    kind: str
    path: str
    name: str
    accessible: bool = True


def find_devices(root: Path = Path("/")) -> list[FoundDevice]:
    """All devices in the order of `KINDS`. `root` is where `dev` and `sys` are."""
    return [*_realsense(), *_sysfs(root), *_serial(root)]


def _realsense() -> Iterator[FoundDevice]:
    try:
        import pyrealsense2 as rs
    except ImportError:
        return
    try:
        for device in rs.context().query_devices():
            name = device.get_info(rs.camera_info.name)
            firmware = device.get_info(rs.camera_info.firmware_version)
            yield FoundDevice(
                "realsense", device.get_info(rs.camera_info.serial_number), f"{name}, firmware {firmware}"
            )
    except RuntimeError as error:  # the camera is there but its USB node may not be opened
        yield FoundDevice("realsense", "?", one_line(error), accessible=False)


def _sysfs(root: Path) -> Iterator[FoundDevice]:
    for kind, (sysfs_class, name_file, node_folder) in _SYSFS.items():
        for entry in sorted((root / "sys/class" / sysfs_class).glob("*"), key=_natural):
            node = root / node_folder / entry.name
            if not node.exists() or (kind == "input" and not entry.name.startswith("event")):
                continue
            try:
                text = (entry / name_file).read_text(errors="replace").strip()
            except OSError:
                text = ""
            hid_name = [line.partition("=")[2] for line in text.splitlines() if line.startswith("HID_NAME=")]
            yield FoundDevice(kind, str(node), hid_name[0] if hid_name else text.partition("\n")[0], _accessible(node))


def _serial(root: Path) -> Iterator[FoundDevice]:
    """By the stable names of /dev/serial/by-id; ports that have none by their number."""
    named = set()
    for link in sorted((root / "dev/serial/by-id").glob("*")):
        port = link.resolve()
        named.add(port.name)
        yield FoundDevice("serial", str(link), port.name, _accessible(port))
    for pattern in ("ttyUSB*", "ttyACM*"):
        for port in sorted((root / "dev").glob(pattern), key=_natural):
            if port.name not in named:
                yield FoundDevice("serial", str(port), "", _accessible(port))


def _accessible(node: Path) -> bool:
    return os.access(node, os.R_OK | os.W_OK)


def _natural(path: Path) -> tuple[int, str]:
    """event2 before event10."""
    return len(path.name), path.name
