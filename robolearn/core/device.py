"""What every device hands out: a sample with three ways to tell when it was taken and whether one was lost."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Sample:
    """One reading of a device.

    Attributes:
        values: feature name -> array, or for input devices the device's own fields.
        device_time_s: when the device says the sample was taken, on the device's own clock.
        host_time_s: when it arrived, on the host's monotonic clock.
        sequence: counts up by one per sample the device produced; a gap means samples were lost.
    """

    values: dict[str, Any] = field(default_factory=dict)
    device_time_s: float = 0.0
    host_time_s: float = 0.0
    sequence: int = 0
