"""`Finding`: one thing that is wrong, or worth knowing, in a dataset."""

from __future__ import annotations

import operator
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from robolearn.core.errors import ConfigError, unknown_name

Severity = Literal["error", "warning", "info"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One line of `robolearn dataset validate`.

    Attributes:
        severity: `error`, data is lost or wrong; `warning`, look at it before training; `info`, good to know.
        check: name of the check, e.g. `checksum`.
        file: path in the dataset's folder, or None where no single file is meant.
        episode: index, or None.
        feature: name, or None.
        step: counted within the episode (rows of a stream within its episode), or None.
        message: what was found and what was expected.
    """

    severity: Severity
    check: str
    message: str
    file: str | None = None
    episode: int | None = None
    feature: str | None = None
    step: int | None = None

    def __post_init__(self) -> None:
        """Raises ConfigError for another severity; numbers of any library become Python's."""
        if self.severity not in SEVERITIES:
            raise ConfigError(unknown_name("severity", self.severity, SEVERITIES))
        for name, number in (("episode", self.episode), ("step", self.step)):
            if number is not None:
                object.__setattr__(self, name, operator.index(number))

    @property
    def order(self) -> tuple[int, str, int, str, int]:
        """Sorts errors first, then by check, episode, feature and step."""
        episode, step = (-1 if n is None else n for n in (self.episode, self.step))
        return SEVERITIES.index(self.severity), self.check, episode, self.feature or "", step

    def to_dict(self) -> dict[str, Any]:
        keys = ("severity", "check", "file", "episode", "feature", "step", "message")
        found = asdict(self)
        return {key: found[key] for key in keys}

    def line(self) -> str:
        """`error    checksum   episode 3  action  step 7: ... [data/action/0.0]`"""
        where = [f"episode {self.episode}"] if self.episode is not None else []
        where += [self.feature] if self.feature else []
        where += [f"step {self.step}"] if self.step is not None else []
        place = f"{', '.join(where)}: " if where else ""
        file = f" [{self.file}]" if self.file else ""
        return f"{self.severity:7s}  {self.check:10s}  {place}{self.message}{file}"


def summary(findings: list[Finding]) -> str:
    """`2 errors, 1 warning, 4 infos`."""
    counts = [(sum(f.severity == severity for f in findings), severity) for severity in SEVERITIES]
    return ", ".join(f"{n} {severity}{'s' * (n != 1)}" for n, severity in counts)
