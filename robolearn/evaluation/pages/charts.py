"""Charts as inline SVG: no script, no font and no library to load; colours come from the page, light or dark."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

WIDTH, HEIGHT = 680, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 76, 16, 30, 46
_PLOT_W, _PLOT_H = WIDTH - _LEFT - _RIGHT, HEIGHT - _TOP - _BOTTOM


@dataclass(frozen=True)
class Line:
    """One curve: `x`, `y` (N,); `style` are css classes of the page (line-a, line-b, and a colour c0 to c7)."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    style: str = "line-a"


@dataclass(frozen=True)
class Interval:
    """One row of an interval chart, all values in [0, 1]; `style` is a colour of the page (c0 to c7)."""

    label: str
    value: float
    low: float
    high: float
    text: str
    style: str = ""


def nice_ticks(low: float, high: float, count: int = 6) -> list[float]:
    """About `count` round numbers (1, 2 or 5 times a power of ten) inside [low, high]."""
    if not high > low:
        return [low]
    raw = (high - low) / max(1, count)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten inside [low, high], with their multiples by 2 and 5 where there would be fewer than three.

    Where these are too few as well, which is much less than a decade, they are those of `nice_ticks`.
    """
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    inside = [10.0**p for p in powers if low <= 10.0**p * (1 + 1e-9) and 10.0**p <= high * (1 + 1e-9)]
    if len(inside) >= 3:
        return inside
    inside = [m * 10.0**p for p in powers for m in (1, 2, 5) if low <= m * 10.0**p <= high]
    return inside if len(inside) >= 3 else nice_ticks(low, high)


def short_number(value: float) -> str:
    """For axes: 20000 -> 20k, 0.05 -> 0.05, 1e-05 -> 1e-5."""
    if value and not 1e-3 <= abs(value) < 1e6:
        mantissa, exponent = f"{value:.2e}".split("e")
        return f"{float(mantissa):g}e{int(exponent)}"
    if abs(value) >= 1000 and value % 100 == 0:
        return f"{value / 1000:g}k"
    return f"{value:g}"


def line_chart(
    lines: Sequence[Line], x_label: str, y_label: str, y_range: tuple[float, float] | None = None, legend: bool = True
) -> str:
    """Curves over a linear x axis and a y axis that is logarithmic, and says so, where all values are positive.

    With `y_range` the y axis is linear and shows that range. Points that are not finite are left out.
    """
    kept = []
    for line in lines:
        x, y = np.asarray(line.x, float), np.asarray(line.y, float)
        good = np.isfinite(x) & np.isfinite(y)
        if good.any():
            kept.append((line, x[good], y[good]))
    if not kept:
        return ""
    x_low, x_high = min(x.min() for _, x, _ in kept), max(x.max() for _, x, _ in kept)
    y_low, y_high = y_range or (min(y.min() for _, _, y in kept), max(y.max() for _, _, y in kept))
    log = y_range is None and y_low > 0
    if log:
        y_low, y_high, y_label = y_low * 0.9, y_high * 1.1, f"{y_label} (log)"
    elif y_range is None:
        margin = 0.05 * (y_high - y_low) or 0.5
        y_low, y_high = y_low - margin, y_high + margin
    x_span = (x_high - x_low) or 1.0

    def px(x: float) -> float:
        return _LEFT + _PLOT_W * (x - x_low) / x_span

    def py(y: float) -> float:
        share = math.log(y / y_low) / math.log(y_high / y_low) if log else (y - y_low) / (y_high - y_low)
        return _TOP + _PLOT_H * (1 - share)

    ticks = log_ticks(y_low, y_high) if log else nice_ticks(y_low, y_high)
    body = _y_axis([(py(t), short_number(t)) for t in ticks], y_label)
    body += _x_axis([(px(t), short_number(t)) for t in nice_ticks(x_low, x_high)], x_label)
    offset = float(_LEFT)
    for line, x, y in kept:
        points = " ".join(f"{px(a):.1f},{py(b):.1f}" for a, b in zip(x, y, strict=True))
        body += f'<polyline class="{line.style}" points="{points}"/>'
        if len(x) == 1:
            body += f'<circle class="{line.style} dot" cx="{px(x[0]):.1f}" cy="{py(y[0]):.1f}" r="3"/>'
        if not legend:
            continue
        body += f'<line class="{line.style}" x1="{offset:.0f}" x2="{offset + 22:.0f}" y1="14" y2="14"/>'
        body += f'<text x="{offset + 28:.0f}" y="18">{escape(line.label)}</text>'
        offset += 46 + 7.2 * len(line.label)
    return _svg(body, HEIGHT, f"{y_label} over {x_label}")


def histogram(
    edges: Sequence[float], counts: Sequence[int], x_label: str, y_label: str, markers: Sequence[tuple[float, str]] = ()
) -> str:
    """Bars of equal width for bins of any widths, with a logarithmic count axis; `markers` are (x, label).

    Empty bins at the end are cut off; the last edge may be infinite.
    """
    filled = np.flatnonzero(np.asarray(counts))
    if filled.size == 0 or len(edges) != len(counts) + 1:
        return ""
    reach = max([*(x for x, _ in markers), 0.0])
    used = max(int(filled[-1]) + 1, min(len(counts), int(np.searchsorted(edges, reach, "right"))))
    edges, counts = list(edges)[: used + 1], list(counts)[:used]
    top = 10.0 ** math.ceil(math.log10(max(counts)) + 0.1)
    bar = _PLOT_W / used

    def py(count: float) -> float:
        # half a count is the floor of the axis, so that a bin with one entry is still seen
        return _TOP + _PLOT_H * (1 - math.log(count / 0.5) / math.log(top / 0.5))

    def px(value: float) -> float:
        i = min(max(int(np.searchsorted(edges, value, "right")) - 1, 0), used - 1)
        width = edges[i + 1] - edges[i]
        share = (value - edges[i]) / width if math.isfinite(width) and width > 0 else 0.5
        return _LEFT + bar * (i + min(max(share, 0.0), 1.0))

    body = _y_axis([(py(t), short_number(t)) for t in log_ticks(1, top)], y_label)
    for i, count in enumerate(counts):
        if count:
            title = f"{edges[i]:g} to {edges[i + 1]:g}: {count}"
            body += (
                f'<rect class="bar" x="{_LEFT + i * bar + 0.5:.1f}" width="{max(bar - 1, 0.8):.1f}" '
                f'y="{py(count):.1f}" height="{_TOP + _PLOT_H - py(count):.1f}"><title>{title}</title></rect>'
            )
    every = max(1, math.ceil(used / 12))
    labels = [(_LEFT + bar * i, _edge(edges[i])) for i in range(0, used + 1, every)]
    body += _x_axis(labels, x_label)
    for row, (value, label) in enumerate(sorted(markers)):
        x = px(value)
        # labels lean away from each other, and from the edge when there is only one
        leftwards = row < len(markers) - 1 if len(markers) > 1 else x > _LEFT + 0.7 * _PLOT_W
        anchor, shift = ("end", -5) if leftwards else ("start", 5)
        body += f'<line class="marker" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP - 12}" y2="{_TOP + _PLOT_H}"/>'
        body += f'<text class="note" x="{x + shift:.1f}" y="{_TOP - 4}" text-anchor="{anchor}">{escape(label)}</text>'
    return _svg(body, HEIGHT, f"{y_label} over {x_label}")


def interval_chart(rows: Sequence[Interval]) -> str:
    """Rates with their intervals on a common axis from 0 to 100 %; long labels make the chart wider."""
    left = max(150, 20 + round(7.2 * max((len(row.label) for row in rows), default=0)))
    right, row_height = 120, 30
    width, height = max(WIDTH // 3, WIDTH - left - right), 14 + row_height * len(rows) + 30

    def px(value: float) -> float:
        return left + width * value

    bottom = 10 + row_height * len(rows)
    body = ""
    for tick in (0, 0.25, 0.5, 0.75, 1):
        body += f'<line class="grid" x1="{px(tick):.1f}" x2="{px(tick):.1f}" y1="8" y2="{bottom}"/>'
        body += (
            f'<text class="tick" x="{px(tick):.1f}" y="{bottom + 18}" text-anchor="middle">{100 * tick:.0f} %</text>'
        )
    for i, row in enumerate(rows):
        y = 10 + row_height * (i + 0.5)
        body += f'<text x="{left - 14}" y="{y + 5}" text-anchor="end">{escape(row.label)}</text>'
        body += f'<line class="span {row.style}" x1="{px(row.low):.1f}" x2="{px(row.high):.1f}" y1="{y}" y2="{y}"/>'
        body += f'<circle class="point {row.style}" cx="{px(row.value):.1f}" cy="{y}" r="6"/>'
        body += f'<text x="{left + width + 16}" y="{y + 5}">{escape(row.text)}</text>'
    return _svg(body, height, "success rates with 95 % intervals", left + width + right)


def _edge(value: float) -> str:
    return f"{value:.3g}" if math.isfinite(value) else "∞"


def _x_axis(ticks: Sequence[tuple[float, str]], label: str) -> str:
    y = _TOP + _PLOT_H
    body = f'<line class="axis" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y}" y2="{y}"/>'
    for x, text in ticks:
        body += f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{y}" y2="{y + 4}"/>'
        body += f'<text class="tick" x="{x:.1f}" y="{y + 18}" text-anchor="middle">{text}</text>'
    return body + f'<text x="{_LEFT + _PLOT_W / 2}" y="{HEIGHT - 8}" text-anchor="middle">{escape(label)}</text>'


def _y_axis(ticks: Sequence[tuple[float, str]], label: str) -> str:
    body = ""
    for y, text in ticks:
        body += f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        body += f'<text class="tick" x="{_LEFT - 7}" y="{y + 4.5:.1f}" text-anchor="end">{text}</text>'
    middle = _TOP + _PLOT_H / 2
    return body + f'<text transform="translate(15 {middle}) rotate(-90)" text-anchor="middle">{escape(label)}</text>'


def _svg(body: str, height: float, title: str, width: float = WIDTH) -> str:
    return (
        f'<div class="scroll"><svg class="chart" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{escape(title)}">{body}</svg></div>'
    )
