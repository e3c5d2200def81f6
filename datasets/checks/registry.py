"""All checks, in the order in which they run on each episode; those of other packages come after ours, by name."""

from __future__ import annotations

from robolearn.core.errors import ConfigError
from robolearn.core.registry import Registry
from robolearn.datasets.checks.check import Check

CHECKS = Registry(
    "check",
    {
        "leftovers": "robolearn.datasets.checks.leftovers:Leftovers",
        "records": "robolearn.datasets.checks.records:Records",
        "features": "robolearn.datasets.checks.meaning:Meaning",
        "layout": "robolearn.datasets.checks.layouts:Layouts",
        "checksum": "robolearn.datasets.checks.checksums:Checksums",
        "time": "robolearn.datasets.checks.timing:Timing",
        "stream": "robolearn.datasets.checks.streams:Streams",
        "finite": "robolearn.datasets.checks.values:Finite",
        "constant": "robolearn.datasets.checks.values:Constant",
        "saturated": "robolearn.datasets.checks.values:Saturated",
        "quaternion": "robolearn.datasets.checks.quaternions:QuaternionSign",
        "lag": "robolearn.datasets.checks.lag:ActionLag",
        "decode": "robolearn.datasets.checks.images:Decoding",
        "black": "robolearn.datasets.checks.images:Black",
        "frozen": "robolearn.datasets.checks.images:Frozen",
        "channels": "robolearn.datasets.checks.channels:ChannelOrder",
    },
    group="robolearn.checks",
)


def make_check(name: str) -> Check:
    """Raises ConfigError for an unknown name and for what is no `Check`."""
    check = CHECKS.make(name)
    if not isinstance(check, Check):
        raise ConfigError(
            f"The check {name!r} ({CHECKS[name]}) is a {type(check).__name__}; expected a subclass of "
            "robolearn.datasets.checks.check.Check."
        )
    return check
