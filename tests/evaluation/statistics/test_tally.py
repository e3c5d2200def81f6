from hypothesis import given
from hypothesis import strategies as st

from robolearn.evaluation.statistics.intervals import wilson_interval
from robolearn.evaluation.statistics.tally import Tally


def episode(success, cause=None):
    return {"success": success, "cause": cause}


def test_aborted_and_unjudged_episodes_are_beside_the_rate_and_not_in_it():
    episodes = [episode(True)] * 8 + [episode(False), episode(None, "server gone: lost"), episode(None)]
    tally = Tally.of_episodes(episodes)
    rate = wilson_interval(8, 9)
    assert tally.rate == rate
    assert str(tally) == (f"8/9  [{rate.low:.3f}, {rate.high:.3f}]  (95 % Wilson), 1 aborted (server gone), 1 unjudged")
    assert tally.exit_status == 3


def test_several_kinds_of_causes_are_counted():
    causes = ["server gone: lost", "device failed: off", "server gone: refused"]
    tally = Tally.of_episodes([episode(None, cause) for cause in causes])
    assert tally.beside == "3 aborted (2 server gone, 1 device failed)"


def test_a_run_in_which_nothing_was_judged_has_no_rate():
    tally = Tally.of_episodes([episode(None), episode(None)])
    assert tally.rate is None
    assert str(tally) == "no rate, no episode was judged, 2 unjudged"
    assert tally.exit_status == 4
    assert tally.to_dict()["success"] == {"k": 0, "n": 0, "wilson": None}


def test_results_of_before_there_were_causes_are_successes_and_failures():
    tally = Tally.of_episodes([{"success": True}, {"success": False}])
    assert (tally.successes, tally.judged, tally.aborted, tally.unjudged) == (1, 2, 0, 0)
    assert tally.exit_status == 0


@given(st.lists(st.tuples(st.sampled_from([True, False, None]), st.none() | st.just("device failed: off"))))
def test_every_episode_is_counted_once_and_the_status_tells_whether_all_were_judged(found):
    tally = Tally.of_episodes(episode(success, cause) for success, cause in found)
    assert tally.judged + tally.aborted + tally.unjudged == len(found)
    assert 0 <= tally.successes <= tally.judged
    assert (tally.exit_status == 0) == (tally.judged == len(found))
