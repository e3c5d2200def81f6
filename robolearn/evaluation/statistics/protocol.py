"""How an evaluation was run: what is said with its numbers, and must be alike where they are set side by side."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robolearn.evaluation.statistics.results import EvaluationResults


@dataclass(frozen=True)
class Protocol:
    """What the episodes of an evaluation had in common.

    Attributes:
        version, options: of the environment.
        start_states: the first and the last.
        execute: actions used of each predicted chunk.
        max_steps: an episode has no more, by the environment or by what was asked for.
        goals: name, checksum and mask of the dataset that goals came from, or None.
    """

    environment: str
    version: str
    options: dict[str, Any]
    start_states: tuple[int, int]
    execute: int
    max_steps: int
    goals: dict[str, Any] | None

    @classmethod
    def of(cls, results: EvaluationResults) -> Protocol:
        environment, goals = results.environment, results.settings.get("goals")
        if goals:
            goals = {"dataset": Path(goals["dataset"]).name, "checksum": goals["checksum"][:12], "mask": goals["mask"]}
        return cls(
            environment=environment["name"],
            version=environment["scene_version"],
            options=environment.get("options") or {},
            start_states=(results.init_states[0], results.init_states[-1]),
            execute=results.settings["execute"],
            max_steps=int(min(results.settings.get("max_steps") or math.inf, environment["max_steps"])),
            goals=goals,
        )

    def __str__(self) -> str:
        parts = [
            self.environment,
            f"start state{_plural(self.start_states[0] != self.start_states[1])} {self._states()}",
            f"{self.execute} action{_plural(self.execute != 1)} executed a prediction",
            f"at most {self.max_steps} step{_plural(self.max_steps != 1)}",
            f"goals of {self._goals()}" if self.goals else "",
            f"scene version {self.version}" + (f" with {self.options}" if self.options else ""),
        ]
        return ", ".join(part for part in parts if part)

    def world(self) -> dict[str, Any]:
        """What makes start state k of one evaluation start state k of another, as text or a number."""
        # whatever the dataset is called
        mask = f"mask {self.goals['mask']} of " if self.goals and self.goals["mask"] else ""
        return {
            "environments": f"{self.environment} version {self.version}",
            "options of the environment": ", ".join(f"{k}={v}" for k, v in sorted(self.options.items())) or "none",
            "limits of steps": self.max_steps,
            "goals": f"{mask}dataset {self.goals['checksum']}" if self.goals else "none",
        }

    def in_words(self) -> dict[str, Any]:
        """Every part by its name, as text or a number."""
        return {
            **vars(self),
            "start_states": self._states(),
            "goals": f"{self._goals()}, {self.goals['checksum']}" if self.goals else None,
        }

    def _states(self) -> str:
        first, last = self.start_states
        return f"{first} to {last}" if first != last else str(first)

    def _goals(self) -> str:
        assert self.goals is not None
        return self.goals["dataset"] + (f" ({self.goals['mask']})" if self.goals["mask"] else "")


def _plural(several: bool) -> str:
    return "s" if several else ""
