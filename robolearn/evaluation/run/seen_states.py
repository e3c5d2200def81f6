"""Start states that a policy may have seen: those that the episodes it was trained on began from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from robolearn.core.errors import CheckpointError
from robolearn.sim.registry import demonstrated_states


@dataclass(frozen=True)
class SeenStates:
    """Of the start states of an evaluation.

    Attributes:
        env: of the evaluation.
        total: how many they are.
        trained: those that occur in the training data.
        demonstrated: those that published demonstrations begin from, where not all of the training data says from
            which states it was recorded.
        unknown: episodes of the training data that do not say.
    """

    env: str
    total: int
    trained: tuple[int, ...] = ()
    demonstrated: tuple[int, ...] = ()
    unknown: int = 0

    def to_dict(self) -> dict[str, Any]:
        return {
            "trained": list(self.trained),
            "demonstrated": list(self.demonstrated),
            "unknown_episodes": self.unknown,
        }

    def note(self) -> str | None:
        """One line, or None where none has been seen as far as is known."""
        told = []
        if self.trained:
            occur = "occurs" if len(self.trained) == 1 else "occur"
            told.append(f"{_of(self.trained, self.total)} {occur} in the data that the policy was trained on")
        if self.demonstrated:
            are = "is one" if len(self.demonstrated) == 1 else "are"
            told.append(
                f"{_of(self.demonstrated, self.total)} {are} of the published demonstrations of {self.env!r}, and "
                f"{self.unknown} episodes of the training data do not say from which states they were recorded"
            )
        if not told:
            return None
        return f"{'; '.join(told)}. Without --init-state, states kept for evaluation are used."


def seen_states(provenance: Mapping[str, Any], env: str, init_states: Sequence[int]) -> SeenStates:
    """Compare the start states of an evaluation with what a checkpoint says, or will say, of its training data.

    Raises CheckpointError where that is damaged.
    """
    trained, unknown = _trained(provenance, env)
    known = tuple(state for state in init_states if any(first <= state <= last for first, last in trained))
    public = demonstrated_states(env) if unknown else range(0)
    demonstrated = tuple(state for state in init_states if state in public and state not in known)
    return SeenStates(env, len(init_states), known, demonstrated, unknown)


def _trained(provenance: Mapping[str, Any], env: str) -> tuple[list[tuple[int, int]], int]:
    """Ranges of start states in `env` that a policy was trained on, and episodes that do not say theirs."""
    datasets = provenance.get("start_states")
    if not isinstance(datasets, list):  # of an older version
        return [], int(provenance.get("episodes_used") or 0)
    try:
        ranges = [(int(a), int(b)) for entry in datasets if entry["environment"] == env for a, b in entry["ranges"]]
        return ranges, sum(int(entry["unknown"]) for entry in datasets)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"provenance.json: 'start_states' is damaged ({error!r}); copy the checkpoint again."
        ) from error


def _of(states: Sequence[int], total: int) -> str:
    named = f"{states[0]}" if len(states) == 1 else f"{min(states)} to {max(states)}"
    return f"{len(states)} of {total} start states ({named})"
