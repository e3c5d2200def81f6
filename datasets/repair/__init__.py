"""Repair: bring a damaged dataset back, lose nothing that can be read, change nothing that is whole."""

from robolearn.datasets.repair.run import repair

__all__ = ["repair"]
