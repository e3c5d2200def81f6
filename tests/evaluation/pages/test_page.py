import pytest

from robolearn.evaluation.pages.page import duration, table


def test_text_of_others_is_escaped():
    assert "&lt;script&gt;" in table(("a<b",), [("<script>",)])
    assert "<b>" in table(("a",), [("<b>",)], html_columns=(0,))


@pytest.mark.parametrize(("seconds", "words"), [(45.23, "45.2 s"), (125.0, "2 min 5 s"), (419.9, "7 min")])
def test_a_duration_is_said_in_minutes_and_seconds(seconds, words):
    assert duration(seconds) == words
