"""`RepairStep`: one thing that `repair` did."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class RepairStep:
    """One thing that was done, or would be.

    Attributes:
        what: `metadata`, `records`, `derived`, `quarantine`, `chunk`, `copies`, `edits`, `leftovers` or `salvage`.
    """

    what: str
    message: str
    file: str | None = None
    episode: int | None = None

    def line(self) -> str:
        where = f"episode {self.episode}: " if self.episode is not None else ""
        file = f" [{self.file}]" if self.file else ""
        return f"{self.what:10s}  {where}{self.message}{file}"

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)
