"""Pictures all the way: trained on, saved, loaded, rolled out and served."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from robolearn.core.errors import FeatureError
from robolearn.core.feature import Feature, features
from robolearn.datasets.write.writer import DatasetWriter
from robolearn.evaluation.run.environment import image_options
from robolearn.evaluation.run.rollout import check_environment, run_episode
from robolearn.policies.bc import BcConfig
from robolearn.policies.beso import BesoConfig
from robolearn.policies.checkpoint import load_policy
from robolearn.policies.networks.vision import VisionConfig
from robolearn.policies.noise import Noise
from robolearn.serving.session import Session
from robolearn.sim.env import SimEnv
from robolearn.training.config import EmaConfig, TrainConfig
from robolearn.training.trainer import Trainer, train

pytestmark = pytest.mark.slow

TOP, SIDE = "observation.images.top", "observation.images.side"
ACTION = Feature("action", (2,), kind="action")
HZ, SIZE = 10.0, 20
EYE = VisionConfig(width=16, stages=1, keypoints=4, feature_dim=8)
RUN = {
    "batch_size": 32, "learning_rate": 4e-3, "val_ratio": 0.0, "num_threads": 1, "warmup_steps": 5,
    "checkpoint_every": 1000, "ema": EmaConfig(max_decay=0.9), "loader_workers": 0,
}  # fmt: skip


class Spot(SimEnv):
    """A spot has to go to the middle. Camera `top` shows its x from left to right, camera `side` its y."""

    def __init__(self, cameras: tuple[str, ...] = (), image_size: int = SIZE):
        self.name, self.scene_version, self.control_hz, self.max_steps = "spot", "1", HZ, 20
        self.cameras, self.image_size = cameras, image_size
        shape = (image_size, image_size, 3)
        seen = [Feature(f"observation.images.{camera}", shape, "uint8", "image") for camera in cameras]
        self._declare(features(seen), ACTION)

    def reset(self, *, seed=None, options=None):
        self.place = np.random.default_rng(self.init_state_of(seed, options)).uniform(-0.7, 0.7, 2)
        return self.observe(), self.task_info()

    def step(self, action):
        self.place = np.clip(self.place + np.clip(self.check_action(action), -0.2, 0.2), -0.8, 0.8)
        return self.observe(), 0.0, self.task_info()["success"], False, self.task_info()

    def observe(self):
        return {
            f"observation.images.{c}": self.render_camera(c, self.image_size, self.image_size) for c in self.cameras
        }

    def task_info(self):
        return {"success": bool(np.abs(self.place).max() < 0.15), "mode": None, "score": 0.0}

    def render_camera(self, camera, width, height):
        column = (self.place[0 if camera == "top" else 1] + 1) / 2 * (width - 1)
        distance = np.abs(np.arange(width) - column)
        picture = np.zeros((height, width, 3))
        picture[:, width // 2, 2] = 255
        picture[height // 2 - 2 : height // 2 + 2, :, 0] = 255 * np.clip(2.0 - distance, 0, 1)
        return picture.astype(np.uint8)

    def sim_state(self):
        return self.place.copy()

    def set_sim_state(self, state):
        self.place = state.copy()
        return self.observe()

    def model_xml(self):
        return None


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Ways to the middle from 40 places, straight."""
    path = tmp_path_factory.mktemp("data") / "spot.zarr"
    env = Spot(("top", "side"))
    with DatasetWriter.create(path, {**env.observation_features, "action": ACTION}, HZ) as writer:
        for state in range(1000, 1040):
            observation, _ = env.reset(options={"init_state": state})
            writer.start_episode()
            for step in range(6):
                action = np.clip(-env.place, -0.2, 0.2).astype(np.float32)
                writer.append(step / HZ, {**observation, "action": action})
                observation, *_ = env.step(action)
            writer.commit({"success": True})
    return path


def bc(*cameras: str, **options) -> BcConfig:
    return BcConfig(
        observations=cameras or (TOP, SIDE), action_horizon=2, hidden_dim=32, layers=1, vision=EYE, **options
    )


@pytest.fixture(scope="module")
def run(dataset, tmp_path_factory):
    output = tmp_path_factory.mktemp("runs") / "bc"
    train(TrainConfig(dataset, output, steps=200, **RUN), "bc", bc(), quiet=True)
    return output


@pytest.mark.slow
def test_a_policy_trained_on_pictures_solves_unseen_starts(run):
    policy = load_policy(run)
    env = Spot(**image_options(policy.spec))
    assert env.cameras == ("top", "side")
    results = [run_episode(policy, env, state) for state in range(10)]
    assert sum(result.success for result in results) >= 9


def test_a_policy_asks_for_its_cameras_by_name_in_any_order(run):
    policy = load_policy(run)
    there, back = Spot(("top", "side")), Spot(("side", "top"))
    check_environment(policy.spec, back)
    for state in range(3):
        a, b = (run_episode(policy, env, state) for env in (there, back))
        assert (a.steps, a.success) == (b.steps, b.success)


def test_each_camera_has_its_own_encoder_and_both_learn(dataset, tmp_path):
    trainer = Trainer(TrainConfig(dataset, tmp_path / "run", steps=1, **RUN), "bc", bc(), quiet=True)
    trainer.policy.loss(trainer.batches.at(0), Noise(0)).backward()
    encoders = trainer.policy.encoder.cameras
    assert len(encoders) == 2
    for encoder in encoders.values():
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in encoder.parameters())


def test_a_goal_picture_goes_through_the_encoder_of_its_camera(dataset, tmp_path):
    config = bc(TOP, goals=(TOP,))
    trainer = Trainer(TrainConfig(dataset, tmp_path / "run", steps=1, **RUN), "bc", config, quiet=True)
    policy, batch = trainer.policy.eval(), trainer.batches.at(0)
    assert len(policy.encoder.cameras) == 1
    batch[f"goal.{TOP}"] = batch[TOP]
    context = policy.context(batch)
    torch.testing.assert_close(context.goal, context.observation)


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("beso", BesoConfig(observations=(SIDE, TOP), obs_horizon=2, embed_dim=16, layers=1, heads=2, vision=EYE)),
        ("bc", bc(obs_horizon=3)),
    ],
)
def test_other_policies_and_horizons_train_on_pictures_too(dataset, tmp_path, name, config):
    result = train(
        TrainConfig(dataset, tmp_path / "run", steps=2, precision="bfloat16", **RUN), name, config, quiet=True
    )
    assert np.isfinite(result.loss)
    policy = load_policy(tmp_path / "run")
    assert run_episode(policy, Spot(**image_options(policy.spec)), 0).steps > 0


def test_pictures_of_another_size_are_a_one_line_error(run):
    policy = load_policy(run)
    with pytest.raises(FeatureError, match=r"observation.images.top.*\(20, 20, 3\).*\(24, 24, 3\)|24.*20") as caught:
        run_episode(policy, Spot(("top", "side"), image_size=24), 0)
    assert "\n" not in str(caught.value)
    with pytest.raises(FeatureError, match=r"'observation.images.top' of shape \(1, 20, 20, 3\)"):
        policy.predict_chunk({name: np.zeros((1, 24, 24, 3), np.uint8) for name in (TOP, SIDE)})
    with pytest.raises(FeatureError, match="as uint8 pixels, found dtype float32"):
        policy.predict_chunk({name: np.zeros((1, 20, 20, 3), np.float32) for name in (TOP, SIDE)})


def test_a_missing_camera_is_named(run):
    with pytest.raises(FeatureError, match=SIDE):
        run_episode(load_policy(run), Spot(("top",)), 0)


def test_served_pictures_give_the_same_actions(run):
    policy = load_policy(run)
    env = Spot(("top", "side"))
    observation, _ = env.reset(options={"init_state": 3})
    served = Session(policy, None, seed=0).infer(observation)
    here = policy.predict_chunk({name: image[None] for name, image in observation.items()})
    np.testing.assert_allclose(served["actions"], here, atol=1e-6)
