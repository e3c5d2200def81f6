"""Frames that are read when they are asked for: a sequence like a list, with a say in how many are read together."""

import pickle
from functools import partial

import pytest

from robolearn.datasets.format.lazy_frames import LazyFrames


def named(prefix, places):
    return [f"{prefix}{place}".encode() for place in places]


def test_they_are_a_sequence():
    frames = LazyFrames(partial(named, "f"), range(10, 20))
    assert len(frames) == 10 and frames[0] == b"f10" and frames[-1] == b"f19"
    assert list(frames) == [b"f%d" % n for n in range(10, 20)]
    assert frames[2:8:2] == [b"f12", b"f14", b"f16"]
    with pytest.raises(IndexError):
        frames[10]


def test_nothing_is_read_before_it_is_asked_for_and_then_in_blocks():
    asked = []

    def read(places):
        asked.append(list(places))
        return named("", places)

    frames = LazyFrames(read, range(7), at_once=3)
    assert len(frames) == 7 and asked == []
    assert len(list(frames)) == 7 and asked == [[0, 1, 2], [3, 4, 5], [6]]
    assert frames[5] == b"5" and asked[-1] == [5]
    assert len(frames[1:]) == 6 and asked[-1] == [1, 2, 3, 4, 5, 6]
    going = iter(LazyFrames(read, range(100), at_once=2))
    assert next(going) == b"0" and asked[-1] == [0, 1]


def test_they_can_be_sent_to_another_process():
    assert list(pickle.loads(pickle.dumps(LazyFrames(partial(named, "x"), [3, 1])))) == [b"x3", b"x1"]
