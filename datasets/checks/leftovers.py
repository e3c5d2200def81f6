"""What lies around the episodes: unfinished ones, files of interrupted commits, stale copies, quarantine."""

from __future__ import annotations

import os
from collections.abc import Iterator

from robolearn.core.errors import DatasetError
from robolearn.core.lock import holder_of
from robolearn.datasets.checks.check import Check
from robolearn.datasets.checks.finding import Finding
from robolearn.datasets.checks.survey import Survey
from robolearn.datasets.format import layout
from robolearn.datasets.read.store import LocalStore
from robolearn.datasets.write.journal import find_journals


class Leftovers(Check):
    name = "leftovers"

    def start(self, survey: Survey) -> Iterator[Finding]:
        if survey.quarantined:
            listed = ", ".join(map(str, sorted(survey.quarantined)[:10])) + ", ..." * (len(survey.quarantined) > 10)
            message = f"{len(survey.quarantined)} in quarantine, not checked: {listed}"
            yield Finding(severity="info", check="quarantine", message=message)
        if not survey.num_episodes:
            yield Finding(severity="warning", check="records", message="the dataset holds no episodes")
        yield from self._copies(survey)
        if isinstance(survey.store, LocalStore):
            yield from self._pending(survey.store, survey)
            yield from self._past_the_end(survey.store, survey)

    def _copies(self, survey: Survey) -> Iterator[Finding]:
        for file, document in survey.metadata.documents().items():
            try:
                found = survey.store.find(file)
            except DatasetError:
                found = None
            if found != layout.to_json(document):
                state = "is missing" if found is None else "differs from .zmetadata"
                message = f"this copy {state}; readers that look at it see something else (repair writes it again)"
                yield Finding(severity="warning", check="copies", message=message, file=file)

    def _pending(self, store: LocalStore, survey: Survey) -> Iterator[Finding]:
        writer = holder_of(store.path / layout.LOCK)
        if writer:
            yield Finding(severity="info", check=self.name, message=f"{writer} is writing this dataset")
            return
        saved = {(record or {}).get("journal") for record in survey.records[-1:]}
        for journal in find_journals(store.path / layout.PENDING):
            if journal.name in saved:
                continue  # the commit was cut short after its commit point; the next writer removes it
            message = "an episode that was neither saved nor discarded (repair saves what is whole of it)"
            yield Finding(severity="warning", check=self.name, message=message, file=f"{layout.PENDING}/{journal.name}")
        staging = store.path / layout.STAGING
        if staging.is_dir() and any(staging.iterdir()):
            message = "files of an interrupted commit (repair removes them)"
            yield Finding(severity="info", check=self.name, message=message, file=layout.STAGING)

    def _past_the_end(self, store: LocalStore, survey: Survey) -> Iterator[Finding]:
        for key, info in survey.metadata.arrays.items():
            needed, folder = -(-info.length // info.chunk_rows), store.path / key
            try:
                names = [entry.name.partition(".")[0] for entry in os.scandir(folder)]
            except OSError:
                continue
            extra = sum(name.isdigit() and int(name) >= needed for name in names)
            if extra:
                message = f"{extra} files past the end, left by an interrupted commit; the next episode replaces them"
                yield Finding(severity="info", check=self.name, message=message, file=key)
