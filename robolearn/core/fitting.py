"""One line that fits the terminal: what matters least is left out whole, nothing is cut in the middle."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress

WIDEST_BAR, NARROWEST_BAR = 40, 4


def fitting(parts: Sequence[str], width: int, separator: str = " | ", least: Sequence[int] = ()) -> str:
    """Parts of a line in their order, as many as fit into `width` columns; the first always.

        fitting(["episode 1/9", "4.0 s", "20.0 Hz"], 80)  ->  "episode 1/9 | 4.0 s | 20.0 Hz"
        fitting(["episode 1/9", "4.0 s", "20.0 Hz"], 20)  ->  "episode 1/9 | 4.0 s"

    Args:
        least: positions in the order in which they are left out; from the last to the first by default.
    """
    kept = dict(enumerate(parts))
    for position in least or range(len(parts) - 1, 0, -1):
        if len(separator.join(kept.values())) <= width:
            break
        kept.pop(position, None)
    return separator.join(kept.values())


def bar_width(width: int, texts: Sequence[str]) -> int:
    """Columns of a progress bar beside texts, with a space between each."""
    return max(NARROWEST_BAR, min(WIDEST_BAR, width - sum(map(len, texts)) - len(texts)))


@contextmanager
def replaced_by_error(progress: Progress) -> Iterator[Progress]:
    """Show a bar while the block runs; when it raises, the bar goes, so that the error is all there is to read."""
    with progress:
        try:
            yield progress
        except Exception:
            progress.live.transient = True
            progress.live.stop()
            progress.disable = True  # where there is no terminal, an empty line would follow
            raise
