"""What a person sees of a run."""

import io
import re

import pytest
from rich.console import Console

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


def test_where_there_is_little_room_what_matters_most_is_shown_whole():
    with ProgressLine("bc", first=0, last=1000, quiet=True) as line:
        line.show({"loss": 0.5, "val_loss": 0.25, "action_error": 0.125})
        line.advance(100, busy_s=4.0, waited_s=0.0)
        whole = "loss 0.5  val_loss 0.25  action_error 0.125  25.0 steps/s  data wait 0.0 %  0:00:36 left"
        assert [line.text(100, width) for width in (len(whole), len(whole) - 1, 50, 40, 25, 12)] == [
            whole,
            "loss 0.5  val_loss 0.25  action_error 0.125  25.0 steps/s  0:00:36 left",
            "loss 0.5  25.0 steps/s  0:00:36 left",
            "loss 0.5  25.0 steps/s  0:00:36 left",
            "loss 0.5  0:00:36 left",
            "0:00:36 left",
        ]


@pytest.mark.parametrize("width", [80, 60])
def test_a_bar_fits_its_terminal(monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    written = io.StringIO()
    console = Console(file=written, force_terminal=True, color_system=None)
    monkeypatch.setattr("rich._console", console)
    monkeypatch.setattr("robolearn.training.progress.BAR_EVERY_S", 0.0)
    with ProgressLine("bc_transformer", first=0, last=100_000, quiet=False) as line:
        line.show({"loss": 0.012345, "val_loss": 0.02345, "action_error": 0.1234, "eval_success": 0.98})
        line.advance(1000, busy_s=20.0, waited_s=0.1)
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written.getvalue()).replace("\r", "\n").splitlines()
    [told] = {text for text in shown if "1000/100000" in text}
    assert len(told) <= width and "left" in told and "…" not in told


@pytest.mark.parametrize(("quiet", "lines"), [(False, 1), (True, 0)])
def test_the_last_step_is_always_told(capfd, quiet, lines):
    with ProgressLine("bc", first=0, last=2, quiet=quiet) as line:
        line.advance(1, 1.0, 0.0)
        line.advance(2, 1.0, 0.0)
    assert capfd.readouterr().out.count("train bc: step 2/2") == lines
