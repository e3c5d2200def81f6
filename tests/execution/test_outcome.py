import pytest

from robolearn.execution.outcome import outcome_word


@pytest.mark.parametrize(
    ("success", "cause", "word"),
    [
        (True, None, "success"),
        (False, None, "failure"),
        (None, None, "unjudged"),
        (None, "server gone: lost", "aborted"),
        (True, "scene stood still: for 1 s", "aborted"),
    ],
)
def test_every_episode_has_one_word_and_a_cause_outranks_what_was_measured(success, cause, word):
    assert outcome_word(success, cause) == word
