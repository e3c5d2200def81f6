import re

import pytest

from robolearn.evaluation.pages.charts import (
    Interval,
    Line,
    histogram,
    interval_chart,
    line_chart,
    log_ticks,
    nice_ticks,
    short_number,
)


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [(0, 4000, [0, 1000, 2000, 3000, 4000]), (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1.0]), (3, 3, [3])],
)
def test_ticks_are_round_numbers(low, high, ticks):
    assert nice_ticks(low, high) == ticks


def test_log_ticks_are_decades_with_twos_and_fives_where_there_are_few():
    assert log_ticks(1, 1000) == [1, 10, 100, 1000]
    assert log_ticks(0.03, 0.6) == pytest.approx([0.05, 0.1, 0.2, 0.5])
    # much less than a decade: round numbers, however narrow
    assert log_ticks(0.055, 0.09) == pytest.approx([0.06, 0.07, 0.08, 0.09])
    assert len(log_ticks(0.97, 1.18)) >= 3


@pytest.mark.parametrize(
    ("value", "text"),
    [(20000, "20k"), (0.05, "0.05"), (1e-5, "1e-5"), (0, "0"), (1500, "1.5k"), (1e6, "1e6"), (5.2e-4, "5.2e-4")],
)
def test_axis_numbers_are_short(value, text):
    assert short_number(value) == text


def test_curves_have_a_log_axis_where_all_is_positive_and_else_a_linear_one():
    steps = [0, 1, 2]

    def heights(values):
        chart = line_chart([Line("l", steps, values)], "x", "loss")
        points = re.search(r'points="([^"]*)"', chart).group(1)
        return [float(point.partition(",")[2]) for point in points.split()], "loss (log)" in chart

    (a, b, c), log = heights([0.01, 0.1, 1.0])
    assert log and b == pytest.approx((a + c) / 2, abs=0.1)
    (a, b, c), log = heights([-1.0, 0.0, 1.0])
    assert not log and b == pytest.approx((a + c) / 2, abs=0.1) and a > c
    assert len(heights([0.0, 0.0, 0.0])[0]) == 3, "flat, and still shown"
    assert line_chart([Line("l", [0], [float("nan")])], "x", "y") == ""


def test_a_histogram_shows_single_counts_and_cuts_empty_bins_at_the_end():
    chart = histogram([0, 1, 2, 3, 4, float("inf")], [1000, 1, 0, 0, 0], "ms", "ticks")
    heights = [float(h) for h in re.findall(r'height="([\d.]+)"', chart)]
    assert len(heights) == 2
    assert heights[1] > 10
    assert "0 to 1: 1000" in chart
    assert "∞" not in chart


@pytest.mark.parametrize("length", [3, 40, 80])
def test_an_interval_chart_has_room_for_its_labels_and_its_axis(length):
    html = interval_chart([Interval("m" * length, 0.5, 0.4, 0.6, "50 %")])
    label = float(re.search(r'<text x="([\d.]+)" y="[\d.]+" text-anchor="end">m', html)[1])
    width = float(re.search(r'viewBox="0 0 ([\d.]+) ', html)[1])
    assert label >= 7 * length
    assert width - label > 300
