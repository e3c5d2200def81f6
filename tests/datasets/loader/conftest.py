import sys
from pathlib import Path

import pytest

from robolearn.datasets.read.reader import Dataset

sys.path.append(str(Path(__file__).parent))
from small_datasets import write_pictures


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Dataset:
    """Episodes of steps 0-4, 5-7 and 8-15; tests leave it as it is."""
    return write_pictures(tmp_path_factory.mktemp("data") / "small.zarr", 5, 3, 8)
