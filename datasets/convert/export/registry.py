"""Formats that can be written, by name: one file and one line a format, or an entry point of another package."""

from __future__ import annotations

import hashlib
import shlex
from pathlib import Path

from robolearn.core.errors import ConfigError, DatasetError
from robolearn.core.registry import Registry
from robolearn.datasets.convert.export.exported_dataset import ExportedDataset
from robolearn.datasets.convert.export.protocol import ExportOptions, ExportReport
from robolearn.datasets.convert.export.work import work_folder
from robolearn.datasets.convert.registry import find_format
from robolearn.datasets.format import layout
from robolearn.datasets.read.store import as_url
from robolearn.datasets.write.output import refuse_existing

EXPORTERS = Registry(
    "export format",
    {
        "lerobot_v3": "robolearn.datasets.convert.export.lerobot.v3:export",
        "lerobot_v2": "robolearn.datasets.convert.export.lerobot.v2:export",
        "robomimic_hdf5": "robolearn.datasets.convert.export.robomimic_hdf5:export",
        "diffusion_policy_zarr": "robolearn.datasets.convert.export.diffusion_policy_zarr:export",
    },
    extra="convert",
    group="robolearn.exporters",
)


def export_dataset(
    dataset: Path | str, output: Path, format: str, options: ExportOptions | None = None
) -> ExportReport:
    """Write `dataset` in another format. `output` appears when it is complete, and not before.

    Labels are the edited ones; episodes in quarantine are left out. What an interrupted export has done stays in
    `OUTPUT.unfinished`, and `options.resume` goes on with it.

    Raises ConfigError for an unknown format, mask or name; DatasetError when the dataset is damaged or in another
    format, `output` exists or is being made by another process, there is an unfinished export and `resume` is not given
    or the dataset or the options have changed since, or there is none and `resume` is given; FeatureError for what the
    format cannot hold.
    """
    options = options or ExportOptions()
    exporter = EXPORTERS.resolve(format)
    if not callable(exporter):
        raise ConfigError(
            f"The export format {format!r} ({EXPORTERS[format]}) is a {type(exporter).__name__}; expected a function "
            "(source, work, options) -> notes (docs/packages.md)."
        )
    output = Path(output)
    refuse_existing(output)
    if as_url(dataset) is None:
        _refuse_foreign(Path(dataset), output, format)
    exported = ExportedDataset.open(dataset, options.mask)
    settings = (format, output.name, sorted(options.rename.items()), options.video, options.crf, options.compress)
    key = hashlib.sha256(repr((exported.fingerprint(), *settings, options.next_obs)).encode()).hexdigest()
    with work_folder(output, key, options.resume) as work:
        notes = exporter(exported, work, options)
    return ExportReport(format, output, exported.num_episodes, exported.num_steps, tuple(notes))


def _refuse_foreign(dataset: Path, output: Path, format: str) -> None:
    """Raises DatasetError that names the two steps from one foreign format to another."""
    if layout.is_ours(dataset) or (found := find_format(dataset)) is None:
        return
    first = f"robolearn dataset convert --input {shlex.quote(str(dataset))} --output NAME.zarr"
    second = f"robolearn dataset convert --input NAME.zarr --output {shlex.quote(str(output))} --to {format}"
    raise DatasetError(f"{dataset} is in {found}; from there to {format} takes two steps: {first} and then {second}")
