import pytest
import torch
from small_transformer import B, inputs, network

from robolearn.policies.networks.score_transformer import ScoreTransformer


def unchanged(net, change, keep_goal=None):
    """Per target: whether its prediction stays the same when `change` edits the inputs."""
    results = []
    for edit in (False, True):
        parts, noisy = inputs(net)
        if edit:
            change(parts, noisy)
        results.append(net(net.context(*parts, keep_goal), noisy, torch.zeros(B, 1)))
    return torch.isclose(*results, atol=1e-6).all(dim=-1).all(dim=0).tolist()


@pytest.mark.parametrize(
    ("sizes", "millions"),
    [
        # block push: 10-d observations, 2-d actions, window 5, one goal state of 4
        ((10, 4, 2, 5, 1, 1, True, 240, 4, 12, 0.05, 0.05), 2.8),
        # relay kitchen: 30-d observations and goals, 9-d actions, window 4, two goal states
        ((30, 30, 9, 4, 2, 1, True, 360, 6, 6, 0.3, 0.0), 9.4),
    ],
)
def test_networks_have_the_published_sizes(sizes, millions):
    network = ScoreTransformer(*sizes)
    dim, layers = sizes[7:9]
    count = sum(p.numel() for p in network.parameters())
    assert count / 1e6 == pytest.approx(millions, abs=0.05)
    # 12 dim^2 + 13 dim a block; the rest is embeddings
    assert 0 < count - layers * (12 * dim**2 + 13 * dim) < 0.02 * count


@pytest.mark.parametrize("step", range(3))
def test_a_target_sees_observations_up_to_its_own(step):
    net = network()
    same = unchanged(net, lambda parts, noisy: parts[0][:, step].add_(1.0))
    assert same == [i < step for i in range(3)]


@pytest.mark.parametrize("step", range(2))
def test_a_target_sees_executed_actions_before_its_own_step(step):
    net = network()
    same = unchanged(net, lambda parts, noisy: parts[2][:, step].add_(1.0))
    assert same == [i <= step for i in range(3)]


@pytest.mark.parametrize("step", range(3))
def test_single_targets_do_not_see_each_other(step):
    net = network()
    same = unchanged(net, lambda parts, noisy: noisy[:, step].add_(1.0))
    assert same == [i != step for i in range(3)]


def test_actions_of_a_chunk_see_each_other_and_the_whole_context():
    net = network(action_horizon=4)
    for change in (
        lambda parts, noisy: noisy[:, 3].add_(1.0),
        lambda parts, noisy: parts[0][:, 0].add_(1.0),
        lambda parts, noisy: parts[2][:, 1].add_(1.0),
    ):
        assert unchanged(net, change) == [False] * 4


def test_goals_are_seen_by_all_targets():
    assert unchanged(network(), lambda parts, noisy: parts[1][:, 1].add_(1.0)) == [False] * 3


def test_without_executed_actions_they_are_not_read():
    net = network(executed_actions=False)
    assert unchanged(net, lambda parts, noisy: parts[2].add_(1.0)) == [True] * 3
    assert unchanged(net, lambda parts, noisy: parts[0][:, 1].add_(1.0)) == [True, False, False]


def test_an_unknown_action_is_a_learned_token_whatever_its_value():
    net = network()

    def forget(parts, value):
        parts[3][:, 0] = False
        parts[2][:, 0] = value

    (a, noisy), (b, _), (c, _) = inputs(net), inputs(net), inputs(net)
    forget(a, 5.0)
    forget(b, -5.0)
    results = [net(net.context(*parts), noisy, torch.zeros(B, 1)) for parts in (a, b, c)]
    assert torch.equal(results[0], results[1])
    assert not torch.allclose(results[0][:, 1], results[2][:, 1], atol=1e-4)


def test_dropping_a_goal_replaces_it_as_a_whole_by_the_learned_token():
    net = network()
    parts, noisy = inputs(net)
    zero = torch.zeros(B, 1)
    mixed = net(net.context(*parts, torch.tensor([True, False])), noisy, zero)
    given = net(net.context(*parts), noisy, zero)
    parts[1] = None
    free = net(net.context(*parts), noisy, zero)
    assert torch.allclose(mixed[0], given[0], atol=1e-6) and torch.allclose(mixed[1], free[1], atol=1e-6)
    assert not torch.allclose(given[1], free[1], atol=1e-4)


def test_each_target_has_its_own_noise_level():
    net = network()
    parts, noisy = inputs(net)
    levels = torch.tensor([[0.1, 0.2, 0.3]]).expand(B, 3)
    together = net(net.context(*parts), noisy, levels)
    for i in range(3):
        alone = net(net.context(*parts), noisy, levels[:, i : i + 1])
        assert torch.allclose(together[:, i], alone[:, i], atol=1e-6)


def test_training_in_bfloat16_has_nearly_the_gradients_of_float32():
    gradients = []
    for precision in (torch.float32, torch.bfloat16):
        net = network(action_horizon=4).train()
        parts, noisy = inputs(net)
        with torch.autocast("cpu", dtype=precision, enabled=precision != torch.float32):
            net(net.context(*parts), noisy, torch.zeros(B, 1)).square().mean().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None]))
    assert torch.cosine_similarity(*gradients, dim=0) > 0.99
