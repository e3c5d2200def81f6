"""Robots, one builder a file: which arm, which sensors, which scene."""
