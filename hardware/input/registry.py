"""Input devices held by people, by name; a driver is imported when it is asked for."""

from __future__ import annotations

from robolearn.core.clock import Clock
from robolearn.core.registry import Registry
from robolearn.hardware.input.protocol import InputDevice

INPUT_DEVICES = Registry(
    "input device", {"keyboard": "robolearn.hardware.input.keyboard:Keyboard"}, group="robolearn.input_devices"
)


def make_input_device(name: str, clock: Clock) -> InputDevice:
    """Make the device called `name`, reading its times from `clock`.

    Raises ConfigError for an unknown name and for what is no `InputDevice`.
    """
    device = INPUT_DEVICES.make(name, clock=clock)
    INPUT_DEVICES.require(name, device, InputDevice)
    return device
