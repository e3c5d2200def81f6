"""Output to a terminal that may go away: what is printed then goes nowhere, and ends nothing."""

from __future__ import annotations

import errno
import io
import os
import sys


class _Terminal(io.FileIO):
    """A terminal. Once it is gone (a closed SSH connection), writing does nothing instead of raising."""

    def write(self, data: object) -> int:  # type: ignore[override]
        try:
            return super().write(data)  # type: ignore[arg-type,return-value]
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            return memoryview(data).nbytes  # type: ignore[arg-type]


def outlive_terminal() -> None:
    """From here on, standard output and error survive the end of the terminal they are on; others stay as they are.

    A program that is to stop its arm and save its checkpoint when the connection is cut must not die of its own
    farewell.
    """
    for number, name in ((1, "stdout"), (2, "stderr")):
        stream = getattr(sys, name)
        if os.isatty(number) and isinstance(stream, io.TextIOWrapper) and stream.fileno() == number:
            stream.flush()
            buffer = io.BufferedWriter(_Terminal(number, "w", closefd=False))
            mended = io.TextIOWrapper(buffer, stream.encoding, stream.errors, line_buffering=True)
            setattr(sys, name, mended)
