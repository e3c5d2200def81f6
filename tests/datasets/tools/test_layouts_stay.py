"""What an action means stays with it through every tool that makes a dataset of others."""

import pytest

from robolearn.cli.main import main
from robolearn.datasets.read.reader import Dataset


@pytest.mark.parametrize(
    "words",
    [
        ["drop", "--episodes", "1"],
        ["drop", "--features", "observation.images.grey"],
        ["resample", "--fps", "5"],
        ["resize", "--image-size", "8x8"],
        ["features", "--rename", "observation.count=observation.counts"],
    ],
    ids=" ".join,
)
def test_a_copy_means_the_same(rich_dataset_to_read, tmp_path, words):
    output = tmp_path / "copy.zarr"
    assert main(["dataset", words[0], str(rich_dataset_to_read), "--output", str(output), *words[1:]]) == 0
    before, after = Dataset(rich_dataset_to_read).features["action"], Dataset(output).features["action"]
    assert after.layout == before.layout is not None
