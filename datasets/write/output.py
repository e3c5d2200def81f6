"""Whether a new dataset, or an export of one, can have the place that it is to get."""

from __future__ import annotations

from pathlib import Path

from robolearn.core.errors import DatasetError
from robolearn.core.output import check_output
from robolearn.datasets.format.layout import is_ours
from robolearn.datasets.read.store import refuse_url


def is_taken(path: Path) -> bool:
    """Whether there is something at `path`; an empty folder is nothing."""
    return path.exists() and (not path.is_dir() or any(path.iterdir()))


def refuse_existing(output: Path, option: str = "--output") -> None:
    """Raises DatasetError when `output` is taken, in a dataset or a URL, ConfigError when it cannot be written.

    Args:
        option: how the user says where.
    """
    refuse_url(output)
    if is_taken(output):
        raise DatasetError(f"{output} exists already; choose another {option}, or remove it first.")
    if (around := next((folder for folder in Path(output).absolute().parents if is_ours(folder)), None)) is not None:
        raise DatasetError(
            f"{output} is inside of the dataset {around}, which stays as it is; choose another {option}."
        )
    check_output(output, option)
