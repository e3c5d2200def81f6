"""Which start states the episodes of a dataset began from, those that were never committed among them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from robolearn.datasets.format import layout
from robolearn.datasets.format.layout import Json, is_sealed
from robolearn.datasets.read.reader import Dataset
from robolearn.datasets.repair.quarantine import FOLDER
from robolearn.datasets.write.journal import HEADER, find_journals

FIRST_RECORDED_STATE = 10_000
"""Lower start states are for evaluation; recorded episodes never begin from them."""
LEFT_OUT = 1000
"""So many are left out where nothing says any more which ones were used."""


def next_init_state(path: Path) -> int:
    """The first start state that no recorded episode of the dataset at `path` has had.

    Counted are all its episodes, in quarantine or not; those in `pending/`, which `repair` saves; and journals that
    `repair` has set aside.
    """
    dataset = Dataset(path)
    journals = [*find_journals(path / layout.PENDING), *sorted((path / FOLDER).glob("pending_*"))]
    facts = [*dataset.recorded_episodes, *map(_journal_facts, journals)]
    # a salvaged episode whose journal was damaged says no more how it began
    unknown = sum(bool(f.get("record_lost") or (f.get("salvaged") and not init_states([f]))) for f in facts)
    used = init_states(facts)
    after = max([FIRST_RECORDED_STATE - 1 + dataset.num_episodes, *used]) + 1
    return after + LEFT_OUT * (unknown > 0)


def init_states(records: Iterable[Json]) -> list[int]:
    """Those that the records of episodes name."""
    found = (record.get("init_state") for record in records)
    return [state for state in found if isinstance(state, int) and not isinstance(state, bool)]


def _journal_facts(journal: Path) -> Json:
    """What was known of an unfinished episode when it began; of a damaged journal that it is lost."""
    try:
        data = (journal / HEADER).read_bytes()
        facts: Any = json.loads(data)["facts"] if is_sealed(data) else None
    except (OSError, ValueError, KeyError, TypeError):
        facts = None
    return facts if isinstance(facts, dict) else {"record_lost": True}
