"""All checks, in the order in which they run on each episode."""

from __future__ import annotations

from robolearn.datasets.checks.channels import ChannelOrder
from robolearn.datasets.checks.check import Check
from robolearn.datasets.checks.checksums import Checksums
from robolearn.datasets.checks.images import Black, Decoding, Frozen
from robolearn.datasets.checks.lag import ActionLag
from robolearn.datasets.checks.leftovers import Leftovers
from robolearn.datasets.checks.meaning import Meaning
from robolearn.datasets.checks.quaternions import QuaternionSign
from robolearn.datasets.checks.records import Records
from robolearn.datasets.checks.streams import Streams
from robolearn.datasets.checks.timing import Timing
from robolearn.datasets.checks.values import Constant, Finite, Saturated

CHECKS: tuple[type[Check], ...] = (
    Leftovers,
    Records,
    Meaning,
    Checksums,
    Timing,
    Streams,
    Finite,
    Constant,
    Saturated,
    QuaternionSign,
    ActionLag,
    Decoding,
    Black,
    Frozen,
    ChannelOrder,
)
