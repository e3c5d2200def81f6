"""Arm drivers by name. A driver and its SDK are imported only when it is asked for."""

from __future__ import annotations

from robolearn.core.registry import Registry

ARMS = Registry("arm", {"simulated": "robolearn.hardware.arms.simulated:SimulatedArm"}, group="robolearn.arms")
