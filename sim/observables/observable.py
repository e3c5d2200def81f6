"""`Observable`: one feature of an environment, and how its value is read off the simulation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from robolearn.core.feature import Feature


@dataclass(frozen=True)
class Observable:
    """See the module's text.

    Attributes:
        feature: that it gives.
        read: its value now, an array of the feature's shape; cast to its dtype where it has another.
    """

    feature: Feature
    read: Callable[[], np.ndarray]
