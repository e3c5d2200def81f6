"""`ProgressLine`: what a person sees of a run: a bar in a terminal, a line every ten seconds elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import TracebackType

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from robolearn.core.fitting import fitting

LINE_EVERY_S, BAR_EVERY_S = 10.0, 0.1
BAR = 12
SHOWN = ("loss", "val_loss", "action_error", "eval_success", "eval_score")


class ProgressLine:
    """Step, loss, rate, share of the time spent waiting for data, and time left.

    Args:
        name: of the policy.
        first, last: steps at the start and at the end of the run.
        quiet: show nothing.
    """

    def __init__(self, name: str, first: int, last: int, quiet: bool):
        self._name, self._first, self._last, self._quiet = name, first, last, quiet
        texts = TextColumn(f"train {name}"), TextColumn("{task.fields[text]}")
        self._bar = Progress(texts[0], BarColumn(BAR), MofNCompleteColumn(), texts[1])
        self._beside_bar = len(f"train {name}") + BAR + len(f"{last}/{last}") + 3
        self._task = self._bar.add_task("", total=last, completed=first, text="")
        self._in_terminal = self._bar.console.is_terminal and not quiet
        self._shown: dict[str, float] = {}
        self._busy_s = self._waited_s = 0.0
        self._last_shown = time.monotonic()

    def __enter__(self) -> ProgressLine:
        if self._in_terminal:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._in_terminal:
            self._bar.stop()

    def show(self, values: Mapping[str, float]) -> None:
        """Metrics of which those in SHOWN are shown from now on."""
        self._shown |= {name: values[name] for name in SHOWN if name in values}

    def advance(self, step: int, busy_s: float, waited_s: float) -> None:
        """A step took `busy_s`, of which `waited_s` were spent waiting for its batch."""
        self._busy_s += busy_s
        self._waited_s += waited_s
        if self._quiet:
            return
        now = time.monotonic()
        if now - self._last_shown < (BAR_EVERY_S if self._in_terminal else LINE_EVERY_S) and step < self._last:
            return
        self._last_shown = now
        if self._in_terminal:
            self._bar.update(
                self._task, completed=step, text=self.text(step, self._bar.console.width - self._beside_bar)
            )
        else:
            print(f"train {self._name}: step {step}/{self._last}  {self.text(step)}", flush=True)

    def text(self, step: int, width: int = 1000) -> str:
        """`loss 0.0123  val_loss 0.0234  52.1 steps/s  data wait 0.4 %  1:23 left`, or what fits of it into `width`."""
        rate = (step - self._first) / max(self._busy_s, 1e-9)
        minutes, seconds = divmod(round((self._last - step) / max(rate, 1e-9)), 60)
        parts = [f"{name} {value:.4g}" for name, value in self._shown.items()]
        parts += [
            f"{rate:.1f} steps/s", f"data wait {self._waited_s / max(self._busy_s, 1e-9):.1%}".replace("%", " %"),
            f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d} left",
        ]  # fmt: skip
        wait, rate_at, left = len(parts) - 2, len(parts) - 3, len(parts) - 1
        return fitting(parts, width, "  ", [wait, *reversed(range(1, rate_at)), rate_at, 0][: left + 1])
