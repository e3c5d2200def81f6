"""What `robolearn doctor` finds of devices. Nothing here raises."""

from __future__ import annotations

from collections.abc import Iterator

from robolearn.core.health import HealthCheck
from robolearn.core.pins import install_line, version_of
from robolearn.hardware.discovery import KINDS, find_devices

# kind -> (words, group of users that may open it)
_DEVICES = {
    "realsense": ("RealSense cameras", "plugdev"),
    "input": ("input devices", "input"),
    "hidraw": ("raw HID devices", "plugdev"),
    "video": ("video devices", "video"),
    "serial": ("serial ports", "dialout"),
}


def device_checks() -> Iterator[HealthCheck]:
    """One line a kind of device, one for each device that this user may not open."""
    group = "Devices"
    found = find_devices()
    for kind in KINDS:
        words, user_group = _DEVICES[kind]
        ours = [device for device in found if device.kind == kind]
        if not ours and kind == "realsense" and version_of("pyrealsense2") is None:
            yield HealthCheck(group, words, "info", "pyrealsense2 is not installed", install_line("realsense"))
            continue
        listed = "; ".join(f"{device.path} {device.name}".strip() for device in ours if device.accessible)
        closed = [device for device in ours if not device.accessible]
        if listed or not closed:
            yield HealthCheck(group, words, "ok" if listed else "info", listed or "none")
        for device in closed:
            advice = f"sudo usermod -aG {user_group} $USER, then log in again"
            yield HealthCheck(group, words, "warn", f"{device.path} {device.name} may not be opened by you", advice)
