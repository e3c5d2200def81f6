"""Comparison of methods: how well each does, and which differences between them are more than chance.

A method is one run, or several that differ in their training seed only. Of several runs the mean over seeds is given,
with its range; what a method does from a start state is then the mean over its runs.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from robolearn.evaluation.statistics.intervals import Estimate, bootstrap_mean
from robolearn.evaluation.statistics.paired import mcnemar, paired_rates, signed_rank
from robolearn.evaluation.statistics.protocol import Protocol
from robolearn.evaluation.statistics.results import EvaluationResults
from robolearn.evaluation.statistics.runs import Run, bracketed

_MEASURES = ("success", "score")


@dataclass(frozen=True)
class Method:
    """Runs of one method, or a single run."""

    name: str
    runs: tuple[Run, ...]

    @property
    def evaluations(self) -> list[EvaluationResults]:
        return [run.evaluation for run in self.runs if run.evaluation is not None]

    def estimate(self, measure: str) -> Estimate | None:
        """Of `success` or `score`: of one evaluation with its own interval, of several their mean and range."""
        found: list[Estimate] = [getattr(results, measure) for results in self.evaluations]
        if len(found) < 2:
            return found[0] if found else None
        values = [estimate.value for estimate in found]
        return Estimate(
            float(np.mean(values)), min(values), max(values), len(values), 1.0, f"range over {len(values)} seeds"
        )

    @property
    def parameters(self) -> int | None:
        return self.runs[0].parameters

    def final(self, curve: str) -> float | None:
        """Last value of a curve, as the mean over the runs that have it."""
        ends = [run.curves[curve][1][-1] for run in self.runs if curve in run.curves]
        return float(np.mean(ends)) if ends else None

    def episodes(self, measure: str) -> dict[int, float]:
        """start state -> mean outcome over the runs, for the start states that were judged in all of them."""
        tables = [
            {e.init_state: float(e.success if measure == "success" else e.max_score) for e in results.episodes}
            for results in self.evaluations
        ]
        shared = set.intersection(*map(set, tables)) if tables else set()
        return {k: float(np.mean([table[k] for table in tables])) for k in sorted(shared)}

    @property
    def init_states(self) -> set[int]:
        """That all of the runs were evaluated on, whether the episode was judged or not."""
        found = [set(results.init_states) for results in self.evaluations]
        return set.intersection(*found) if found else set()

    @property
    def aborted(self) -> int:
        """Episodes of all runs that were not judged."""
        return sum(len(results.aborted) for results in self.evaluations)


@dataclass(frozen=True)
class Difference:
    """First minus second method over the start states they share.

    Attributes:
        value: of the mean success rate or score, with its 95 % interval.
        p: of a difference at least as large if neither method were better, two-sided.
        test: which test gave p.
        detail: what else there is to say, such as how many start states only one of the two solved.
    """

    measure: str
    value: Estimate
    p: float
    test: str
    detail: str = ""


@dataclass(frozen=True)
class Pair:
    """Two methods side by side. `reason` says why there are no differences to test, where there are none.

    Attributes:
        start_states: that both were judged on; each is one pair of the tests.
        left_out: start states that both ran from, but an episode was aborted.
    """

    first: str
    second: str
    start_states: int
    left_out: int = 0
    differences: tuple[Difference, ...] = ()
    reason: str = ""


@dataclass(frozen=True)
class Comparison:
    methods: tuple[Method, ...]
    pairs: tuple[Pair, ...]

    @property
    def protocols(self) -> list[tuple[Protocol, list[str]]]:
        """How methods were evaluated, each way with the names of those that were evaluated so."""
        found: dict[str, tuple[Protocol, list[str]]] = {}
        for method in self.methods:
            for protocol in map(Protocol.of, method.evaluations):
                _, names = found.setdefault(repr(protocol), (protocol, []))
                if method.name not in names:
                    names.append(method.name)
        return list(found.values())

    def protocol_lines(self) -> list[str]:
        """The protocols in words; where there are several, each with the names of its methods."""
        found = self.protocols
        return [f"{protocol}: {', '.join(names)}" if len(found) > 1 else str(protocol) for protocol, names in found]

    def to_dict(self) -> dict[str, Any]:
        return {
            "protocols": [{"methods": names, **asdict(protocol)} for protocol, names in self.protocols],
            "methods": [_method_record(method) for method in self.methods],
            "pairs": [_pair_record(pair) for pair in self.pairs],
        }


def compare(runs: Sequence[Run], group: bool = False) -> Comparison:
    """Compare each run with each other one, or with `group` methods: runs that differ in their seed only are one."""
    methods = _grouped(runs) if group else tuple(Method(run.name, (run,)) for run in runs)
    return Comparison(methods, tuple(_pair(a, b) for a, b in itertools.combinations(methods, 2)))


def _grouped(runs: Sequence[Run]) -> tuple[Method, ...]:
    together: dict[str, list[Run]] = {}
    for run in runs:
        # a run of which nothing is known is like no other
        together.setdefault(run.method or f"only {run.path}", []).append(run)
    return tuple(Method(_shared_name(group), tuple(group)) for group in together.values())


def _shared_name(runs: Sequence[Run]) -> str:
    names = [run.name for run in runs]
    if len(names) == 1:
        return names[0]
    alike = itertools.takewhile(lambda letters: len(set(letters)) == 1, zip(*names, strict=False))
    shared = "".join(letters[0] for letters in alike).rstrip("-_. ").removesuffix("seed").rstrip("-_. ")
    return f"{shared or names[0]} ({len(names)} seeds){bracketed(runs[0].sampling)}"


def _pair(first: Method, second: Method) -> Pair:
    lacking = [method.name for method in (first, second) if not method.evaluations]
    if lacking:
        return Pair(first.name, second.name, 0, reason=f"no evaluation of {' and '.join(lacking)}")
    if (reason := _unlike(first, second)) is not None:
        return Pair(first.name, second.name, 0, reason=reason)
    outcomes = {measure: (first.episodes(measure), second.episodes(measure)) for measure in _MEASURES}
    shared = sorted(outcomes["success"][0].keys() & outcomes["success"][1].keys())
    both = first.init_states & second.init_states
    if not shared:
        none = "no start state on which both were judged" if both else "no start state in common"
        return Pair(first.name, second.name, 0, len(both), reason=none)
    single = len(first.evaluations) == len(second.evaluations) == 1
    differences = []
    for measure, tables in outcomes.items():
        a, b = (np.array([table[k] for k in shared]) for table in tables)
        differences.append(_difference(measure, a, b, single and measure == "success"))
    return Pair(first.name, second.name, len(shared), len(both) - len(shared), tuple(differences))


def _difference(measure: str, a: np.ndarray, b: np.ndarray, binary: bool) -> Difference:
    if not binary:
        return Difference(measure, bootstrap_mean(a - b), signed_rank(a, b), "Wilcoxon signed rank, exact")
    solved = a > 0.5, b > 0.5
    counts = mcnemar(*solved)
    detail = f"{counts.only_first} solved by the first only, {counts.only_second} by the second only"
    return Difference(measure, paired_rates(*solved), counts.p, "McNemar, exact", detail)


def _unlike(first: Method, second: Method) -> str | None:
    """Why start state k of one is not start state k of the other, or None."""
    kinds = [Protocol.of(results).world() for method in (first, second) for results in method.evaluations]
    for kind in kinds[1:]:
        for what, value in kind.items():
            if value != kinds[0][what]:
                return f"different {what}: {kinds[0][what]} and {value}"
    return None


def _method_record(method: Method) -> dict[str, Any]:
    return {
        "name": method.name,
        "runs": [str(run.path) for run in method.runs],
        "sampling": method.runs[0].sampling,
        "parameters": method.parameters,
        "aborted": method.aborted,
        **{curve: method.final(curve) for curve in ("loss", "val_loss", "action_error")},
        **{measure: e.to_dict() if (e := method.estimate(measure)) else None for measure in _MEASURES},
    }


def _pair_record(pair: Pair) -> dict[str, Any]:
    return {
        "first": pair.first,
        "second": pair.second,
        "start_states": pair.start_states,
        "left_out": pair.left_out,
        "reason": pair.reason or None,
        "differences": [
            {"measure": d.measure, **d.value.to_dict(), "p": d.p, "test": d.test, "detail": d.detail or None}
            for d in pair.differences
        ],
    }
