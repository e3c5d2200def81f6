"""How many episodes of a run became what, in the four words of `execution/outcome.py`.

Judged episodes, successes and failures, make the success rate. Those that were aborted, or that nobody judged, are
counted beside the rate, and the exit status says so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from robolearn.core.errors import one_line
from robolearn.evaluation.statistics.intervals import Estimate, wilson_interval
from robolearn.execution.outcome import FAILURE, SUCCESS, UNJUDGED, outcome_word

# exit status of a run that went to its end
ALL_JUDGED, SOME_ABORTED, SOME_UNJUDGED = 0, 3, 4


@dataclass(frozen=True)
class Tally:
    """How many episodes became what.

    Attributes:
        successes, judged: judged are the successes and the failures.
        causes: of the aborted episodes, one line each, `KIND: what happened`.
        unjudged: episodes whose outcome nobody measured.
    """

    successes: int
    judged: int
    causes: tuple[str, ...] = ()
    unjudged: int = 0

    @classmethod
    def of_episodes(cls, episodes: Iterable[Mapping[str, Any]]) -> Tally:
        """Of the records of `robolearn deploy`; older ones know successes and failures only."""
        words: Counter[str] = Counter()
        causes = []
        for episode in episodes:
            cause = episode.get("cause")
            words[outcome_word(episode.get("success"), cause)] += 1
            causes += [one_line(cause)] if cause is not None else []
        return cls(words[SUCCESS], words[SUCCESS] + words[FAILURE], tuple(causes), words[UNJUDGED])

    @property
    def aborted(self) -> int:
        return len(self.causes)

    @property
    def rate(self) -> Estimate | None:
        """Success rate of the judged episodes with its Wilson interval; None where there are none."""
        return wilson_interval(self.successes, self.judged) if self.judged else None

    @property
    def kinds(self) -> dict[str, int]:
        """How many episodes each kind of cause aborted, the most frequent first."""
        return dict(Counter(cause.partition(":")[0] for cause in self.causes).most_common())

    @property
    def exit_status(self) -> int:
        if self.causes:
            return SOME_ABORTED
        return SOME_UNJUDGED if self.unjudged else ALL_JUDGED

    @property
    def beside(self) -> str:
        """What stands beside the rate: `1 aborted (server gone), 2 unjudged`; empty where all were judged."""
        kinds = self.kinds
        named = next(iter(kinds)) if len(kinds) == 1 else ", ".join(f"{n} {kind}" for kind, n in kinds.items())
        parts = [f"{self.aborted} aborted ({named})"] if self.causes else []
        return ", ".join(parts + ([f"{self.unjudged} unjudged"] if self.unjudged else []))

    @property
    def counts(self) -> str:
        """`8/9`, or `none judged`."""
        return f"{self.successes}/{self.judged}" if self.judged else "none judged"

    def __str__(self) -> str:
        """`8/9  [0.565, 0.980]  (95 % Wilson), 1 aborted (server gone)`."""
        rate = self.rate
        words = "no rate, no episode was judged" if rate is None else f"{self.counts}  {rate.bounds()}  (95 % Wilson)"
        return f"{words}, {self.beside}" if self.beside else words

    def to_dict(self) -> dict[str, Any]:
        """For results files; `interval` and `value` are None where no episode was judged."""
        rate = self.rate
        return {
            "success": {"k": self.successes, "n": self.judged, "wilson": rate.to_dict() if rate else None},
            "aborted": {"n": self.aborted, "kinds": self.kinds},
            "unjudged": self.unjudged,
        }
