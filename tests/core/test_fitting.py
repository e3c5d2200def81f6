"""Lines that fit: parts are left out whole."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from robolearn.core.fitting import bar_width, fitting

PARTS = ["episode 1/9", "4.0 s", "20.0 Hz"]


def test_parts_are_left_out_from_the_last_or_as_told():
    assert fitting(PARTS, 80) == "episode 1/9 | 4.0 s | 20.0 Hz"
    assert fitting(PARTS, 28) == "episode 1/9 | 4.0 s"
    assert fitting(PARTS, 20) == "episode 1/9 | 4.0 s"
    assert fitting(PARTS, 28, least=[1]) == "episode 1/9 | 20.0 Hz"
    assert fitting(PARTS, 3) == "episode 1/9"


@given(st.lists(st.text("abc", min_size=1, max_size=9), min_size=1, max_size=8), st.integers(9, 60))
def test_the_line_fits_and_no_part_is_cut(parts, width):
    line = fitting(parts, width)
    assert len(line) <= width
    kept = line.split(" | ")
    assert kept == parts[: len(kept)]
    assert len(kept) == len(parts) or len(" | ".join(parts[: len(kept) + 1])) > width


def test_a_bar_takes_what_is_left_between_its_bounds():
    assert bar_width(80, ["evaluating", "10/50"]) == 40
    assert bar_width(40, ["evaluating", "10/50"]) == 40 - 15 - 2
    assert bar_width(10, ["evaluating", "10/50"]) == 4
