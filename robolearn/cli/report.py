"""`robolearn report`: every measured figure of the repository in one table."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from robolearn.core.config import parse


@dataclass(frozen=True)
class ReportOptions:
    """Print the measured figures as one table.

    Attributes:
        results: Folder of json files of figures, or one such file.
        json: Print the figures as json.
    """

    results: Path = Path("benchmarks/results")
    json: bool = False


def main(argv: list[str]) -> int:
    options = parse(
        ReportOptions, argv, prog="robolearn report", description="Print the measured figures as one table."
    )
    from robolearn.evaluation.statistics.figures import format_table, read_figures

    figures = read_figures(options.results)
    if options.json:
        print(json.dumps([figure.to_dict() for figure in figures], indent=1))
    else:
        print(format_table(figures))
    return 0
