"""Checks of recorded data: `validate` finds damage and what spoils training, and never raises for damaged data."""

from robolearn.datasets.checks.finding import Finding, summary
from robolearn.datasets.checks.run import validate

__all__ = ["Finding", "summary", "validate"]
