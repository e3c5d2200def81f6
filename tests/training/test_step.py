"""One optimisation step: parts of a batch, precision, groups of parameters, learning rates."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from world import BC, BESO, run_config, write_dataset

from robolearn.core.errors import ConfigError
from robolearn.policies.diffusion import DiffusionConfig, UnetConfig
from robolearn.policies.networks.time_major import NormMish
from robolearn.training import step as step_module
from robolearn.training.config import EmaConfig, TrainConfig
from robolearn.training.distributed import Processes
from robolearn.training.optimizer import make_optimizer
from robolearn.training.schedule import learning_rate
from robolearn.training.step import Step, derived_seed
from robolearn.training.trainer import Trainer

STILL = replace(BESO, dropout=0.0, attention_dropout=0.0, goals=("observation.state",))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("data") / "d.zarr", episodes=3)


def gradients(trainer: Trainer, step: int = 0) -> tuple[float, torch.Tensor]:
    loss, _ = trainer._step.gradients(step, trainer.batches.at(step))
    return float(loss), torch.cat([p.grad.reshape(-1) for p in trainer.policy.parameters() if p.grad is not None])


@pytest.mark.parametrize("parts", [2, 4, 16])
def test_a_batch_in_parts_has_the_loss_and_gradient_of_the_whole(dataset, tmp_path, parts):
    whole, divided = (
        Trainer(run_config(dataset, tmp_path / str(n), accumulate=n, max_grad_norm=1e9), "beso", STILL, quiet=True)
        for n in (1, parts)
    )
    for step in (0, 5):
        (loss, gradient), (loss_in_parts, gradient_in_parts) = gradients(whole, step), gradients(divided, step)
        assert loss_in_parts == pytest.approx(loss, rel=1e-5)
        torch.testing.assert_close(gradient_in_parts, gradient, rtol=1e-4, atol=1e-6)


def test_a_batch_that_cannot_be_divided_is_refused(dataset, tmp_path):
    with pytest.raises(ConfigError, match="--accumulate 3 does not divide the 16 windows"):
        Trainer(run_config(dataset, tmp_path / "run", accumulate=3), "bc", BC, quiet=True)


def test_gradients_are_a_function_of_seed_and_step(dataset, tmp_path):
    noisy = replace(BESO, dropout=0.3)
    one, two = (Trainer(run_config(dataset, tmp_path / n, seed=3), "beso", noisy, quiet=True) for n in "ab")
    gradients(two, 0)
    assert torch.equal(gradients(one, 7)[1], gradients(two, 7)[1])
    assert not torch.equal(gradients(one, 7)[1], gradients(one, 8)[1])


def test_derived_seeds_differ_in_every_part():
    seeds = [derived_seed(*parts) for parts in ((0,), (0, 0), (0, 1), (1, 0), (0, 1, 0), (0, 1, 1))]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_gradients_are_clipped_to_the_norm_asked_for(dataset, tmp_path):
    trainer = Trainer(run_config(dataset, tmp_path / "run", max_grad_norm=1e-3), "bc", BC, quiet=True)
    assert float(gradients(trainer)[1].norm()) == pytest.approx(1e-3, rel=1e-3)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_is_near_the_full_one_and_keeps_float32_weights(dataset, tmp_path, precision):
    full, half = (
        Trainer(run_config(dataset, tmp_path / p, precision=p, max_grad_norm=1e9), "beso", STILL, quiet=True)
        for p in ("float32", precision)
    )
    (loss, gradient), (loss_in_half, gradient_in_half) = gradients(full), gradients(half)
    assert loss_in_half == pytest.approx(loss, rel=0.02)
    assert loss_in_half != loss, "something was computed in half precision"
    assert float(nn.functional.cosine_similarity(gradient, gradient_in_half, dim=0)) > 0.99
    half._step.apply(0)
    assert {p.dtype for p in half.policy.parameters()} == {torch.float32}


@pytest.mark.parametrize("max_grad_norm", [1e-3, 1.0])
def test_scaling_the_loss_changes_neither_the_norm_nor_what_is_clipped(dataset, tmp_path, max_grad_norm):
    plain, scaled = (
        Trainer(run_config(dataset, tmp_path / name, max_grad_norm=max_grad_norm), "bc", BC, quiet=True)
        for name in ("plain", "scaled")
    )
    scaled._step.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**16)  # a power of two: nothing is rounded
    norms = [trainer._step.gradients(0, trainer.batches.at(0))[1] for trainer in (plain, scaled)]
    assert torch.equal(*norms)
    for trainer in (plain, scaled):
        trainer._step.apply(0)  # divides by the scale where that has not been done yet
    for one, other in zip(plain.policy.parameters(), scaled.policy.parameters(), strict=True):
        assert torch.equal(one.grad, other.grad)


def test_a_float16_step_that_overflows_is_left_out(dataset, tmp_path):
    trainer = Trainer(run_config(dataset, tmp_path / "run", precision="float16"), "bc", BC, quiet=True)
    before = [p.detach().clone() for p in trainer.policy.parameters()]
    scale = trainer._step.scaler.get_scale()
    loss = trainer._step._loss
    trainer._step._loss = lambda *inputs: 1e36 * loss(*inputs)
    trainer._train_step()
    assert all(torch.equal(a, b) for a, b in zip(before, trainer.policy.parameters(), strict=True))
    assert trainer._step.scaler.get_scale() == scale / 2
    trainer._step._loss = loss
    trainer._train_step()
    assert not all(torch.equal(a, b) for a, b in zip(before, trainer.policy.parameters(), strict=True))


def test_only_weights_of_layers_decay_and_encoders_go_their_own_way():
    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.position = nn.Parameter(torch.zeros(3, 4))
            self.linear, self.norm, self.names = nn.Linear(4, 4), nn.LayerNorm(4), nn.Embedding(5, 4)

    policy = nn.ModuleDict({"encoder": nn.Conv2d(3, 2, 3), "network": Network()})
    config = TrainConfig("d.zarr", "run", learning_rate=1e-3, weight_decay=0.1, encoder_learning_rate=1e-4,
                         encoder_weight_decay=0.01)  # fmt: skip
    optimizer = make_optimizer(policy, config)
    names = {parameter: name for name, parameter in policy.named_parameters()}
    found = {
        names[p]: (group["weight_decay"], pytest.approx(group["lr"]))
        for group in optimizer.param_groups
        for p in group["params"]
    }
    assert found == {
        "encoder.weight": (0.01, 1e-4), "encoder.bias": (0.0, 1e-4), "network.position": (0.0, 1e-3),
        "network.linear.weight": (0.1, 1e-3), "network.linear.bias": (0.0, 1e-3), "network.norm.weight": (0.0, 1e-3),
        "network.norm.bias": (0.0, 1e-3), "network.names.weight": (0.0, 1e-3),
    }  # fmt: skip


def test_norms_and_biases_of_the_diffusion_unet_never_decay(dataset, tmp_path):
    config = DiffusionConfig(action_horizon=3, unet=UnetConfig(widths=(8, 16), groups=4, step_dim=8))
    policy = Trainer(run_config(dataset, tmp_path / "run"), "diffusion", config, quiet=True).policy
    weights = {name: p for name, p in policy.named_parameters() if name.endswith("weight")}
    gains = {f"{name}.weight" for name, module in policy.named_modules() if isinstance(module, NormMish)}
    assert gains
    optimizer = make_optimizer(policy, TrainConfig("d.zarr", "run", weight_decay=0.1))
    decayed = {p for group in optimizer.param_groups if group["weight_decay"] for p in group["params"]}
    assert decayed == {p for name, p in weights.items() if name not in gains}


class Sum(nn.Module):
    """One weight in the encoder, one elsewhere, both 0 at first; the loss is their sum."""

    def __init__(self):
        super().__init__()
        self.encoder, self.network = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
        for parameter in self.parameters():
            nn.init.zeros_(parameter)

    def loss(self, batch, noise):
        return self.encoder.weight.sum() + self.network.weight.sum()


def sum_after_steps(steps: int, **changes) -> Step:
    """Without memory, AdamW goes down by exactly the learning rate where the gradient is positive."""
    config = TrainConfig("d.zarr", "run", steps=steps, betas=(0.0, 0.0), weight_decay=0.0, schedule="constant",
                         **changes)  # fmt: skip
    step = Step(Sum(), config, Processes("cpu"))
    for number in range(steps):
        step.gradients(number, {})
        step.apply(number)
    return step


def test_the_encoder_keeps_its_share_of_the_rate_at_every_step():
    # rates of 1/4, 2/4, 3/4, 1 and 1 of the base rate
    step = sum_after_steps(5, learning_rate=0.5, encoder_learning_rate=0.125, warmup_steps=4)
    assert step.policy.network.weight.item() == pytest.approx(-0.5 * 3.5)
    assert step.policy.encoder.weight.item() == pytest.approx(-0.125 * 3.5)


def test_the_average_is_of_the_weights_after_each_step():
    ema = EmaConfig(schedule="constant", max_decay=0.5)
    step = sum_after_steps(3, learning_rate=1.0, warmup_steps=0, ema=ema)
    # the weight is -1, -2, -3 after the steps; its average -1, (-1 - 2) / 2, (-1.5 - 3) / 2
    assert float(step.ema.averaged["network.weight"]) == pytest.approx(-2.25)


def test_a_constant_schedule_stays_at_the_base_rate():
    config = TrainConfig("d.zarr", "run", steps=100, warmup_steps=10, learning_rate=0.5, schedule="constant")
    assert [learning_rate(config, step) for step in (0, 4, 9, 10, 99)] == pytest.approx([0.05, 0.25, 0.5, 0.5, 0.5])


def test_compiling_without_a_compiler_is_explained(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(step_module.shutil, "which", lambda name: None)
    with pytest.raises(ConfigError, match=r"--compile needs a C\+\+ compiler .* g\+\+ was not found"):
        Trainer(run_config(dataset, tmp_path / "run", compile=True), "bc", BC, quiet=True)
