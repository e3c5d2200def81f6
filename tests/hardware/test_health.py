"""What is found of devices."""

from robolearn.hardware import health
from robolearn.hardware.discovery import FoundDevice
from robolearn.hardware.health import device_checks


def test_devices_are_listed_by_kind_and_closed_ones_are_warned_of(monkeypatch):
    found = [
        FoundDevice("video", "/dev/video0", "Webcam"),
        FoundDevice("serial", "/dev/serial/by-id/usb-U2D2", "ttyUSB0", accessible=False),
    ]
    monkeypatch.setattr(health, "find_devices", lambda: found)
    seen = {check.name: check for check in device_checks()}
    assert (seen["video devices"].status, seen["video devices"].found) == ("ok", "/dev/video0 Webcam")
    assert (seen["input devices"].status, seen["input devices"].found) == ("info", "none")
    assert seen["serial ports"].status == "warn"
    assert "usermod -aG dialout" in seen["serial ports"].advice
