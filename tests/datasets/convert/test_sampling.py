"""Which of many are looked at."""

import pytest

from robolearn.datasets.convert.sampling import first_middle_last, spread


def test_all_are_looked_at_where_there_are_few_and_none_where_there_are_none():
    for count in range(129):
        assert spread(count, 128) == list(range(count))


def test_of_many_as_many_as_asked_for_from_the_first_to_the_last_evenly():
    found = spread(1_000_001, 5)
    assert found == [0, 250_000, 500_000, 750_000, 1_000_000]


@pytest.mark.parametrize(("count", "numbers"), [(0, []), (1, [0]), (2, [0, 1]), (3, [0, 1, 2]), (10, [0, 5, 9])])
def test_first_middle_and_last(count, numbers):
    assert first_middle_last(count) == numbers
