"""`Checkpoints`: those of one run, in a folder where a whole one can be found at any moment.

checkpoints/00004000    a checkpoint, named after its step
checkpoints/last        link to the newest
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from robolearn.core.errors import CheckpointError, ConfigError, one_line
from robolearn.core.output import check_output, held_output
from robolearn.datasets.format.layout import METADATA as DATASET_METADATA
from robolearn.datasets.write.durable import sync_file_system
from robolearn.policies.checkpoint import load_provenance
from robolearn.training import state

LAST = "last"
PARTIAL = ".partial"


class Checkpoints:
    """Writes checkpoints whole or not at all, and clears away old ones.

    Args:
        output: folder of the run.
        keep_every: those at multiples of so many steps stay, without what only resuming needs; 0 = the last one only.
    """

    def __init__(self, output: Path, keep_every: int = 0):
        self.output, self._folder, self._keep_every = output, output / "checkpoints", keep_every

    @property
    def last(self) -> Path | None:
        """The newest checkpoint, or None."""
        link = self._folder / LAST
        return link.resolve() if link.exists() else None

    def require(self, resume: bool) -> None:
        """Raise ConfigError when there is nothing to resume, or something that would be overwritten or littered."""
        check_output(self.output)
        output = self.output.resolve()
        for folder in (output, *output.parents):
            if (folder / DATASET_METADATA).exists():
                raise ConfigError(f"{folder} is a dataset; choose an --output outside of it.")
        if self.last is not None and not resume:
            raise ConfigError(
                f"{self.output} holds a training run already; add --resume to go on, or choose another --output."
            )
        if self.last is None and resume:
            raise ConfigError(f"Nothing to resume: {self.output} holds no checkpoint. Leave --resume out to start.")

    def create(self) -> None:
        """Make the folder. In one that was copied without its link, the link is made again."""
        self._folder.mkdir(parents=True, exist_ok=True)
        last = self._folder / LAST
        if last.is_dir() and not last.is_symlink():
            named = self._folder / f"{load_provenance(last)['step']:08d}"
            if named.exists():
                shutil.rmtree(last)
            else:
                os.rename(last, named)
            self._point_to(named)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other processes from training into this folder, which is made. Raises ConfigError when one does."""
        with ExitStack() as stack:
            with self.writing("the output folder"):
                stack.enter_context(held_output(self.output))
                self.create()
            yield

    def save(self, step: int, write: Callable[[Path], None]) -> Path:
        """Have `write` fill a new folder, point `last` to it, then delete older ones; nothing if it is there already.

        A kill or power cut at any moment leaves the old checkpoint or the new one, whole; so does a full disk, which is
        a CheckpointError.
        """
        final = self._folder / f"{step:08d}"
        if self.last == final.resolve():
            return final
        partial = final.with_name(final.name + PARTIAL)
        shutil.rmtree(partial, ignore_errors=True)
        with self.writing(f"the checkpoint of step {step}"):
            try:
                write(partial)
                sync_file_system(partial)
                shutil.rmtree(final, ignore_errors=True)
                os.replace(partial, final)
            except BaseException:
                shutil.rmtree(partial, ignore_errors=True)
                raise
            self._point_to(final)
        self._clear_away(final)
        return final

    @contextmanager
    def writing(self, what: str) -> Iterator[None]:
        """Turn a full disk, or another that cannot be written, into one line that says which checkpoint there is."""
        try:
            yield
        except (OSError, SafetensorError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else one_line(error, 200)
            left = "there is no checkpoint yet: mend that, then start again"
            if (last := self.last) is not None:
                left = f"the checkpoint of step {int(last.name)} is intact: mend that, then go on with --resume"
            raise CheckpointError(f"{self.output}: {what} cannot be written ({reason}); {left}.") from error

    def _point_to(self, checkpoint: Path) -> None:
        link = self._folder / (LAST + PARTIAL)
        link.unlink(missing_ok=True)
        link.symlink_to(checkpoint.name)
        os.replace(link, self._folder / LAST)
        sync_file_system(self._folder)

    def note(self, checkpoint: Path, values: Mapping[str, Any]) -> None:
        """Add to the provenance of a checkpoint; a power cut leaves the old record or the new one, whole."""
        file = checkpoint / "provenance.json"
        partial = file.with_name(file.name + PARTIAL)
        record = json.dumps({**load_provenance(checkpoint), **values}, indent=2)
        with self.writing("the result of an evaluation"):
            try:
                partial.write_text(record)
                sync_file_system(checkpoint)
                os.replace(partial, file)
            except OSError:
                partial.unlink(missing_ok=True)
                raise
            sync_file_system(checkpoint)

    def _clear_away(self, newest: Path) -> None:
        for older in self._folder.iterdir():
            ours = older.name.removesuffix(PARTIAL).isdigit()  # what people have put there stays
            if not ours or older.is_symlink() or not older.is_dir() or older.name == newest.name:
                continue
            if self._keep_every and older.name.isdigit() and int(older.name) % self._keep_every == 0:
                for name in state.FILES:
                    (older / name).unlink(missing_ok=True)
            else:
                shutil.rmtree(older, ignore_errors=True)
