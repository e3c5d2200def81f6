"""Start states that a policy was trained on are told from those it has not seen."""

import pytest

from robolearn.core.errors import CheckpointError, ConfigError
from robolearn.evaluation.run.evaluate import EvaluationConfig
from robolearn.evaluation.run.seen_states import seen_states
from robolearn.sim.registry import ENVIRONMENTS, demonstrated_states, evaluation_start


def trained_on(env, ranges, unknown=0):
    return [{"environment": env, "ranges": ranges, "unknown": unknown}]


def test_evaluations_begin_where_an_environment_says():
    ours = [env for env in ENVIRONMENTS if env != "tiny_line"]  # other tests register that one
    assert {env: evaluation_start(env) for env in ours} == {
        "avoiding": 0, "block_push": 100_000, "hand_over": 0, "lift": 0, "put_on_plate": 0, "pusht": 100_000,
        "robosuite": 0,
    }  # fmt: skip
    assert evaluation_start("robosuite/Lift") == 0
    assert EvaluationConfig("pusht", 3).init_states() == [100_000, 100_001, 100_002]
    assert EvaluationConfig("pusht", 2, init_state=7).init_states() == [7, 8]
    with pytest.raises(ConfigError, match="Did you mean 'pusht'"):
        EvaluationConfig("pushtt", 2).init_states()


@pytest.mark.parametrize("env", list(ENVIRONMENTS))
def test_no_evaluation_begins_from_what_was_recorded_or_published(env):
    states = EvaluationConfig(env, 50).init_states()
    assert not set(states) & set(demonstrated_states(env))
    assert not set(states) & set(range(10_000, 20_000))


def test_states_of_the_training_data_are_counted_and_said():
    provenance = {"start_states": trained_on("put_on_plate", [[3, 5], [9, 9]])}
    seen = seen_states(provenance, "put_on_plate", range(10))
    assert seen.trained == (3, 4, 5, 9)
    assert seen.note().startswith("4 of 10 start states (3 to 9) occur in the data that the policy was trained on")
    assert seen.to_dict() == {"trained": [3, 4, 5, 9], "demonstrated": [], "unknown_episodes": 0}
    assert seen_states(provenance, "put_on_plate", range(6, 9)).note() is None
    assert seen_states(provenance, "avoiding", range(10)).note() is None  # numbers of another environment


def test_published_demonstrations_are_taken_for_data_that_does_not_say():
    provenance = {"start_states": trained_on(None, [], unknown=206)}
    note = seen_states(provenance, "pusht", range(200, 210)).note()
    assert note.startswith("6 of 10 start states (200 to 205) are of the published demonstrations of 'pusht', and")
    assert "206 episodes of the training data do not say" in note
    assert seen_states(provenance, "pusht", range(100_000, 100_050)).note() is None
    says = {"start_states": trained_on("pusht", [[10_000, 10_099]])}
    assert seen_states(says, "pusht", range(10)).note() is None


def test_checkpoints_of_older_versions_and_policies_without_data_are_no_error():
    assert "206 episodes" in seen_states({"episodes_used": 206}, "pusht", range(3)).note()
    assert seen_states({}, "pusht", range(3)).note() is None


@pytest.mark.parametrize(
    "entry", [3, {}, {"environment": "pusht", "ranges": [[1]], "unknown": 0}, {"environment": "x"}]
)
def test_a_damaged_record_of_start_states_is_one_line(entry):
    with pytest.raises(CheckpointError, match="'start_states' is damaged"):
        seen_states({"start_states": [entry]}, "pusht", range(3))
