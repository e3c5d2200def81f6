"""JSON that others wrote: a document that is nested too deeply is a damaged one."""

from __future__ import annotations

import json
from typing import Any


def parsed(text: str | bytes, **options: Any) -> Any:
    """`json.loads`. Raises ValueError for everything that is no JSON, or is nested deeper than can be read."""
    try:
        return json.loads(text, **options)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
