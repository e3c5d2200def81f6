"""Memory that caches take, and what there is."""

import sys
from pathlib import Path

import numpy as np
import pytest

from robolearn.core.errors import ConfigError
from robolearn.datasets.loader import Loader, memory

sys.path.append(str(Path(__file__).parent))
from small_datasets import IMAGE, PICTURES


def test_memory_is_told_in_units_that_fit():
    estimate = memory.MemoryEstimate(2_400_000, 71_000_000, 1_500_000_000, 22_000_000_000, "decoded")
    told = "memory 1.6 GB (arrays 2.4 MB, images decoded 71.0 MB, batches 1.5 GB) of 22.0 GB available"
    assert str(estimate) == told
    assert (
        str(memory.MemoryEstimate(40_000, 0, 0, None, "none"))
        == "memory 40 kB (arrays 40 kB, images none 0 kB, batches 0 kB)"
    )


def test_a_cache_that_does_not_fit_is_refused_before_anything_is_read(dataset, monkeypatch):
    def free(kilobytes: int) -> None:
        monkeypatch.setattr("robolearn.datasets.loader.memory.available_bytes", lambda: kilobytes * 1024)

    free(40)
    with pytest.raises(ConfigError, match=r"needs more than there is: memory .* images decoded .* another cache mode"):
        Loader(dataset, PICTURES, 1, cache="decoded")
    assert Loader(dataset, PICTURES, 1, cache="none").memory.mode == "none"
    free(200)
    decoded = Loader(dataset, PICTURES, 1).memory
    assert decoded.mode == "decoded" and decoded.cache == 16 * 24 * 32 * 3
    free(60)
    encoded = Loader(dataset, PICTURES, 1).memory
    sizes = [len(dataset.encoded(IMAGE, step)) for step in range(16)]
    assert encoded.mode == "encoded" and encoded.cache == int(16 * (np.mean(sizes) + 200))
    free(1)
    with pytest.raises(ConfigError, match="a smaller batch or fewer episodes"):
        Loader(dataset, PICTURES, 16)


def test_available_memory_is_that_of_the_container_where_it_has_less(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "CGROUP", tmp_path)
    assert memory.available_bytes() is None
    (tmp_path / "meminfo").write_text("MemTotal: 9000 kB\nMemAvailable:    5000 kB\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.available_bytes() == 5000 * 1024
    (tmp_path / "memory.max").write_text("3000000\n")
    (tmp_path / "memory.stat").write_text("anon 1000000\nfile 900000\n")
    assert memory.available_bytes() == 2000000
