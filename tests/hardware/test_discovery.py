"""Devices found in a made-up /dev and /sys."""

import pytest

from robolearn.hardware import discovery
from robolearn.hardware.discovery import FoundDevice, find_devices


@pytest.fixture
def machine(tmp_path, monkeypatch):
    monkeypatch.setattr(discovery, "_realsense", lambda: [])

    def add(sysfs_class, entry, name_file, text, node):
        folder = tmp_path / "sys/class" / sysfs_class / entry
        (folder / name_file).parent.mkdir(parents=True, exist_ok=True)
        (folder / name_file).write_text(text)
        (tmp_path / node).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / node).touch()
        return str(tmp_path / node)

    return add


def test_a_machine_without_devices_has_none(machine, tmp_path):
    assert find_devices(tmp_path) == []


def test_devices_carry_the_names_they_give_themselves(machine, tmp_path):
    event = machine("input", "event3", "device/name", "Logitech Gamepad F310\n", "dev/input/event3")
    mouse = machine(
        "hidraw", "hidraw0", "device/uevent", "DRIVER=hid\nHID_NAME=3Dconnexion SpaceMouse\n", "dev/hidraw0"
    )
    video = machine("video4linux", "video0", "name", "HD Webcam\n", "dev/video0")
    machine("input", "mouse0", "device/name", "not an event node\n", "dev/input/mouse0")
    assert find_devices(tmp_path) == [
        FoundDevice("input", event, "Logitech Gamepad F310"),
        FoundDevice("hidraw", mouse, "3Dconnexion SpaceMouse"),
        FoundDevice("video", video, "HD Webcam"),
    ]


def test_devices_are_counted_as_people_do(machine, tmp_path):
    for number in (10, 2, 1):
        machine("input", f"event{number}", "device/name", f"{number}", f"dev/input/event{number}")
    assert [device.name for device in find_devices(tmp_path)] == ["1", "2", "10"]


def test_a_device_without_a_node_is_not_there(machine, tmp_path):
    node = machine("video4linux", "video0", "name", "unplugged", "dev/video0")
    (tmp_path / node).unlink()
    assert find_devices(tmp_path) == []


def test_serial_ports_go_by_their_stable_name_where_they_have_one(machine, tmp_path):
    by_id = tmp_path / "dev/serial/by-id"
    by_id.mkdir(parents=True)
    for port in ("ttyUSB0", "ttyACM1"):
        (tmp_path / "dev" / port).touch()
    (by_id / "usb-ROBOTIS_U2D2").symlink_to(tmp_path / "dev/ttyUSB0")
    assert find_devices(tmp_path) == [
        FoundDevice("serial", str(by_id / "usb-ROBOTIS_U2D2"), "ttyUSB0"),
        FoundDevice("serial", str(tmp_path / "dev/ttyACM1"), ""),
    ]


def test_a_device_that_may_not_be_opened_says_so(machine, tmp_path, monkeypatch):
    machine("video4linux", "video0", "name", "HD Webcam", "dev/video0")
    monkeypatch.setattr(discovery.os, "access", lambda path, mode: False)
    assert [device.accessible for device in find_devices(tmp_path)] == [False]


def test_the_real_machine_can_be_asked():
    assert all(device.kind in discovery.KINDS for device in find_devices())
