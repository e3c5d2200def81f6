"""JSON that others wrote: what is no JSON, or nothing that can be kept as JSON, does not get further than here."""

from __future__ import annotations

import json
import math
from typing import Any


def parsed(text: str | bytes) -> Any:
    """`json.loads`, with None for numbers that are not finite (`NaN`, `Infinity`, `1e999`): JSON has none.

    Raises ValueError for everything else that is no JSON, or is nested deeper than can be read.
    """
    try:
        return json.loads(text, parse_constant=lambda name: None, parse_float=_finite)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _finite(text: str) -> float | None:
    number = float(text)
    return number if math.isfinite(number) else None
