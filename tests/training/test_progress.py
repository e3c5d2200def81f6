"""What a person sees of a run."""

import pytest

from robolearn.training.progress import ProgressLine


def test_the_line_tells_rate_data_wait_and_time_left():
    with ProgressLine("bc", first=100, last=7400, quiet=True) as line:
        line.show({"loss": 0.012345, "lr": 1e-3})
        line.advance(150, busy_s=3.0, waited_s=0.1)
        line.advance(200, busy_s=1.0, waited_s=0.0)
        # 100 steps in 4 s leave 7200 steps or 288 s
        assert line.text(200) == "loss 0.01235  25.0 steps/s  data wait 2.5 %  0:04:48 left"
        line.show({"loss": 0.5, "val_loss": 0.25, "eval_success": 1.0})
        assert line.text(200).startswith("loss 0.5  val_loss 0.25  eval_success 1  25.0 steps/s")


@pytest.mark.parametrize(("quiet", "lines"), [(False, 1), (True, 0)])
def test_the_last_step_is_always_told(capfd, quiet, lines):
    with ProgressLine("bc", first=0, last=2, quiet=quiet) as line:
        line.advance(1, 1.0, 0.0)
        line.advance(2, 1.0, 0.0)
    assert capfd.readouterr().out.count("train bc: step 2/2") == lines
