import dataclasses
import tracemalloc

import numpy as np
import pytest
from tiny_policy_server import HORIZON, SPEC, TinyPolicy

from robolearn.core.action import ActionLayout, Part
from robolearn.core.errors import FeatureError, LayoutError, ServerError
from robolearn.core.feature import Feature
from robolearn.execution.anchored import anchored
from robolearn.execution.command import COMMAND_LAYOUT
from robolearn.serving.session import Session, warm_up


def state(x: float) -> np.ndarray:
    return np.full(10, x, np.float32)


WINDOW = np.zeros((2, 10), np.float32)


def session(policy: TinyPolicy | None = None, seed: int = 0, noise: bool = False) -> Session:
    return Session(policy or TinyPolicy(), np.random.default_rng if noise else None, seed)


def test_a_window_goes_to_the_policy_as_it_is():
    policy = TinyPolicy()
    window = np.stack([state(1), state(2)])
    answer = session(policy).infer({"observation.state": window})
    np.testing.assert_array_equal(policy.seen[0]["observation.state"], window)
    assert answer["actions"].shape == (HORIZON, 10)
    assert answer["actions"].dtype == np.float32
    assert answer["policy_timing"]["infer_ms"] >= 0


def test_single_samples_are_collected_into_windows_by_their_times():
    policy = TinyPolicy()
    served = session(policy)
    for x, time_s in ((1, 5.0), (2, 5.05), (3, 5.1)):
        served.infer({"observation.state": state(x), "__t_obs__": time_s})
    assert [w["observation.state"][:, 0].tolist() for w in policy.seen] == [[1, 1], [1, 2], [2, 3]]


def test_a_single_sample_without_its_time_is_refused_where_the_policy_looks_back():
    message = r"looks at 2 observations, 0.05 s apart, .* Send windows of shape \(2, ...\).*'__t_obs__'"
    with pytest.raises(FeatureError, match=message):
        session().infer({"observation.state": state(1)})


def test_samples_eight_steps_apart_are_no_window():
    served = session()
    served.infer({"observation.state": state(1), "__t_obs__": 0.0})
    with pytest.raises(FeatureError, match="request: no observation was sent that was taken 0.05 s before the newest"):
        served.infer({"observation.state": state(2), "__t_obs__": 0.4})


def test_a_policy_of_one_observation_takes_single_samples_as_they_come():
    policy = TinyPolicy()
    policy.spec = dataclasses.replace(SPEC, obs_horizon=1)
    served = session(policy)
    served.infer({"observation.state": state(1)})
    served.infer({"observation.state": state(2)})
    assert [w["observation.state"][:, 0].tolist() for w in policy.seen] == [[1], [2]]


def test_a_skipped_sample_is_kept_for_the_next_window():
    policy = TinyPolicy()
    served = session(policy)
    served.skip({"observation.state": state(1), "__t_obs__": 0.0})
    served.infer({"observation.state": state(2), "__t_obs__": 0.05})
    assert policy.seen[-1]["observation.state"][:, 0].tolist() == [1, 2]


def test_reset_forgets_the_history():
    policy = TinyPolicy()
    served = session(policy)
    served.infer({"observation.state": state(1), "__t_obs__": 0.0})
    served.reset()
    served.infer({"observation.state": state(5), "__t_obs__": 0.05})
    assert policy.seen[-1]["observation.state"][:, 0].tolist() == [5, 5]


def test_noise_is_a_function_of_the_seed():
    request = {"observation.state": np.zeros((2, 10), np.float32)}
    first, second, other = session(seed=1, noise=True), session(seed=1, noise=True), session(seed=2, noise=True)
    a = first.infer(request)["actions"]
    np.testing.assert_array_equal(a, second.infer(request)["actions"])
    assert not np.array_equal(a, other.infer(request)["actions"])
    assert not np.array_equal(a, first.infer(request)["actions"])
    first.reset(seed=1)
    np.testing.assert_array_equal(a, first.infer(request)["actions"])


def test_the_policy_gets_arrays_it_may_write_to():
    policy = TinyPolicy()
    frozen = np.zeros((2, 10), np.float32)
    frozen.flags.writeable = False
    seen = []
    policy.predict_chunk = lambda observations, *_: seen.append(observations) or np.zeros((HORIZON, 10))  # type: ignore[method-assign]
    session(policy).infer({"observation.state": frozen})
    assert seen[0]["observation.state"].flags.writeable


@pytest.mark.parametrize(
    ("request_map", "message"),
    [
        ({"observation.sate": state(0)}, r"'observation.state' is missing. The closest is 'observation.sate'. Sent"),
        ({}, "is missing. Sent: nothing"),
        ({"observation.state": np.zeros(9, np.float32)}, r"has shape \(9,\), expected \(10,\)"),
        ({"observation.state": np.zeros((3, 10), np.float32)}, r"has shape \(3, 10\), expected \(2, 10\)"),
        ({"observation.state": np.full(10, np.nan, np.float32)}, "non-finite value"),
        ({"observation.state": np.full((2, 10), np.inf)}, "non-finite value"),
        ({"observation.state": "here"}, "holds a value of type str, expected numbers"),
        ({"observation.state": [0.0, None]}, "holds a value of type NoneType, expected numbers"),
        ({"observation.state": np.array(["a"] * 10)}, "has dtype <U1, expected numbers"),
        ({"observation.state": {"a": 1}}, "holds a value of type dict, expected numbers"),
        ({"observation.state": np.zeros(10, complex)}, "dtype complex128, expected float32"),
        ({"observation.state": [[1, 2], [3]]}, "is not an array"),
    ],
)
def test_observations_the_policy_was_not_trained_on_are_named(request_map, message):
    with pytest.raises(FeatureError, match=message):
        session().infer(request_map)


@pytest.mark.parametrize(
    "executed",
    [np.zeros(10), np.zeros((2, 9)), np.full((2, 10), np.nan), "x", ["x"], np.zeros((11, 10)), np.full((2, 10), 1e300)],
    ids=str,
)
def test_malformed_executed_actions_are_refused(executed):
    with pytest.raises(FeatureError, match=r"'prefix' \(the executed actions\) (has shape|holds a value of type str)"):
        session().infer({"observation.state": WINDOW, "prefix": executed})


@pytest.mark.parametrize("goal", ["x", [1, 2], np.zeros(3)], ids=str)
def test_a_goal_that_is_no_map_is_refused(goal):
    with pytest.raises(FeatureError, match="the goal is of type .*, expected a map of features"):
        session().infer({"observation.state": WINDOW, "goal": goal})


def test_a_list_of_texts_never_becomes_an_array():
    """It would take the longest one's place for each: 40 GB here."""
    texts = ["a" * 1_000_000] + ["b"] * 9_999
    tracemalloc.start()
    with pytest.raises(FeatureError, match="expected numbers"):
        session().infer({"observation.state": texts})
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


def test_thousands_of_wrong_names_make_a_short_error():
    names = {f"observation.{'x' * 500}{i}": 0 for i in range(2000)}
    with pytest.raises(FeatureError, match="and 1980 more") as caught:
        session().infer(names)
    assert len(str(caught.value)) < 3000


@pytest.mark.parametrize(("fault", "message"), [("nan", "non-finite action"), ("shape", r"shape \(7, 10\)")])
def test_an_unusable_answer_of_the_policy_is_not_sent(fault, message):
    with pytest.raises(ServerError, match=message):
        session(TinyPolicy(fault)).infer({"observation.state": WINDOW})


def test_warm_up_runs_the_real_shapes():
    policy = TinyPolicy()
    assert len(warm_up(policy, None, repeats=2)) == 2
    assert policy.seen[0]["observation.state"].shape == (2, 10)


class EarlierPolicy(TinyPolicy):
    """As policies were written when the executed actions were called a prefix."""

    def predict_chunk(self, observations, goal, prefix, generator):
        self.given = prefix
        return super().predict_chunk(observations, goal, prefix, generator)


def test_executed_actions_reach_a_policy_by_the_key_and_the_argument_of_earlier_versions():
    policy, executed = EarlierPolicy(), np.arange(20, dtype=np.float32).reshape(2, 10)
    session(policy).infer({"observation.state": WINDOW, "prefix": executed})
    assert policy.given.tolist() == executed.tolist()


class GoalPolicy(TinyPolicy):
    """Takes goals of two steps and keeps those it was given."""

    spec = dataclasses.replace(SPEC, goal_features=SPEC.observation_features, goal_horizon=2)

    def predict_chunk(self, observations, goal=None, executed=None, generator=None):
        self.goals = [*getattr(self, "goals", []), goal]
        return super().predict_chunk(observations, goal, executed, generator)


def test_a_goal_reaches_the_policy():
    policy, goal = GoalPolicy(), np.stack([state(1), state(2)])
    session(policy).infer({"observation.state": WINDOW, "goal": {"observation.state": goal}})
    np.testing.assert_array_equal(policy.goals[0]["observation.state"], goal)


@pytest.mark.parametrize(
    ("goal", "message"),
    [
        (
            {"observation.state": np.zeros((1, 10), np.float32)},
            r"request: goal: .* shape \(1, 10\), expected \(2, 10\)",
        ),
        ({"observation.state": np.full((2, 10), np.nan, np.float32)}, "request: goal: .*non-finite"),
        ({"other": np.zeros((2, 10))}, "feature 'observation.state' is missing. Sent: other"),
    ],
)
def test_a_goal_of_the_wrong_kind_is_refused(goal, message):
    with pytest.raises(FeatureError, match=message):
        session(GoalPolicy()).infer({"observation.state": WINDOW, "goal": goal})


def test_a_goal_for_a_policy_that_takes_none_is_refused():
    with pytest.raises(FeatureError, match="takes no goal, but one was sent"):
        session().infer({"observation.state": WINDOW, "goal": {"observation.state": state(0)}})


def test_a_goal_conditioned_policy_is_warmed_up_with_a_goal():
    policy = GoalPolicy()
    warm_up(policy, None, repeats=1)
    assert policy.goals[0]["observation.state"].shape == (2, 10)


def test_a_client_that_carries_out_such_actions_is_answered_and_another_is_refused():
    served = session()
    fits = {"observation.state": WINDOW, "__takes__": COMMAND_LAYOUT.to_dict()}
    assert served.infer(fits)["actions"].shape == served.infer(fits)["actions"].shape == (HORIZON, 10)
    joints = ActionLayout((Part("joints", tuple(f"joint{k}" for k in range(1, 8))), Part("gripper")))
    with pytest.raises(LayoutError) as error:
        served.infer({**fits, "__takes__": joints.to_dict()})
    assert str(error.value) == (
        "request: you carry out joints, this policy answers pose (rot6d) (10 numbers: pose (rot6d), gripper); serve a "
        "policy that was trained with: robolearn train ... --action LAYOUT."
    )
    with pytest.raises(LayoutError, match="request: '__takes__': 7 does not describe an action"):
        served.infer({**fits, "__takes__": 7})


@pytest.mark.parametrize(
    "takes", [np.zeros(3), {"parts": np.zeros(2)}, {"parts": [{"kind": "gripper", "scale": np.ones(1)}]}]
)
def test_a_client_that_says_arrays_in_place_of_a_layout_is_refused(takes):
    served = session()
    served.infer({"observation.state": WINDOW, "__takes__": COMMAND_LAYOUT.to_dict()})
    with pytest.raises(LayoutError, match="request: '__takes__': .* does not describe"):
        served.infer({"observation.state": WINDOW, "__takes__": takes})


def test_actions_relative_to_the_observation_are_served_absolute_with_that_of_their_own_request():
    umi = ActionLayout((Part("pose", reference="observation", axes="tool"), Part("gripper")))
    policy = TinyPolicy()
    state_of_arm = Feature("observation.state", (10,), layout=COMMAND_LAYOUT)
    forward = np.array([0.1, 0, 0, 1, 0, 0, 0, 1, 0, 0.5], np.float32)  # along the tool's x, no turn
    policy.spec = dataclasses.replace(
        SPEC, observation_features={state_of_arm.name: state_of_arm}, obs_horizon=1,
        action_feature=Feature("action", (10,), kind="action", layout=umi),
    )  # fmt: skip
    policy.predict_chunk = lambda *_: np.tile(forward, (HORIZON, 1))
    acting = anchored(policy)
    assert acting.spec.action_feature.layout == COMMAND_LAYOUT  # what clients are told, and arms take
    served = session(acting)
    for x in (0.2, 0.4, 0.3):  # the tool's x points along the base's y here
        here = np.array([x, 0, 0, 0, -1, 0, 1, 0, 0, 1], np.float32)
        answer = served.infer({"observation.state": here, "__takes__": COMMAND_LAYOUT.to_dict()})
        np.testing.assert_allclose(answer["actions"][:, :3], np.tile([x, 0.1, 0], (HORIZON, 1)), atol=1e-6)
        np.testing.assert_allclose(answer["actions"][:, 3:9], np.tile(here[3:9], (HORIZON, 1)), atol=1e-6)
