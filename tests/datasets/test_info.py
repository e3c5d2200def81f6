"""What `dataset info` counts; its command line is in tests/cli."""

import numpy as np

from robolearn.datasets.info import describe_timing, size_on_disk
from robolearn.datasets.reader import Dataset


def test_a_file_that_vanishes_while_it_is_counted_counts_nothing(tmp_path):
    (tmp_path / "chunk").write_bytes(b"12345")
    (tmp_path / "moved").symlink_to(tmp_path / "not there any more")
    assert size_on_disk(tmp_path) == size_on_disk(tmp_path / "chunk") == 5


def test_timing_looks_within_episodes_only(make_dataset):
    """Episodes of 3 and 2 steps at 10 Hz: the jump back to zero between them is no gap."""
    timing = describe_timing(Dataset(make_dataset(3, 2)))
    assert timing is not None
    found = [timing[key] for key in ("nominal_s", "median_s", "max_s", "median_jitter_s")]
    assert np.allclose(found, [0.1, 0.1, 0.1, 0.0])


def test_single_steps_have_no_timing(make_dataset):
    assert describe_timing(Dataset(make_dataset(1, 1))) is None
