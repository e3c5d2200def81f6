"""What is written while a run goes on, and what of it a resumed run keeps."""

import pytest

from robolearn.core.errors import DatasetError
from robolearn.training.metrics import MetricsWriter, read_metrics

pytest.importorskip("tensorboard")

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def write(directory, steps, resume_step=0):
    writer = MetricsWriter(directory, resume_step)
    for step in steps:
        writer.write(step, loss=float(step))
    writer.close()


@pytest.mark.parametrize("line", ["5", '{"loss": 1.0}', '{"step": "two"}'])
def test_a_line_that_is_no_metrics_is_named(tmp_path, line):
    (tmp_path / "metrics.jsonl").write_text(f'{{"step": 1}}\n{line}\n')
    with pytest.raises(DatasetError, match=r"does not hold the metrics of a training run: line 2 is "):
        read_metrics(tmp_path / "metrics.jsonl")


def test_a_resumed_run_keeps_metrics_up_to_its_checkpoint_and_that_of_the_checkpoint(tmp_path):
    write(tmp_path, [1, 2, 3, 4])
    write(tmp_path, [3, 4, 5], resume_step=2)
    assert [line["step"] for line in read_metrics(tmp_path / "metrics.jsonl")] == [1, 2, 3, 4, 5]
    board = EventAccumulator(str(tmp_path / "tensorboard"))
    board.Reload()
    assert [event.step for event in board.Scalars("loss")] == [1, 2, 3, 4, 5]
