from pathlib import Path

import pytest

from robolearn.core.errors import ConfigError
from robolearn.training.config import TrainConfig


def test_paths_may_be_given_as_text():
    config = TrainConfig("d.zarr", "run", eval_env="block_push", eval_goals="goals.zarr")
    assert config == TrainConfig(Path("d.zarr"), Path("run"), eval_env="block_push", eval_goals=Path("goals.zarr"))
    assert config.datasets == (Path("d.zarr"),)
    assert isinstance(config.output, Path)
    assert isinstance(config.eval_goals, Path)


@pytest.mark.parametrize("several", [("a.zarr", "b.zarr"), ["a.zarr", Path("b.zarr")]])
def test_several_datasets_may_be_any_sequence_of_them(several):
    assert TrainConfig(several, "run").datasets == (Path("a.zarr"), Path("b.zarr"))


def test_no_dataset_is_refused():
    with pytest.raises(ConfigError, match="--dataset needs at least one dataset"):
        TrainConfig((), "run")
