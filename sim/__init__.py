"""Simulation: MuJoCo scenes of our own, adapters to other simulators, scripted experts."""

from robolearn.sim.registry import make_env

__all__ = ["make_env"]
