import pytest
import torch
from torch import nn

from robolearn.policies.networks import score_decoder
from robolearn.policies.networks.score_decoder import ScoreDecoder
from robolearn.policies.networks.score_transformer import ScoreTransformer

B, D, DG, A = 2, 6, 4, 3


def network(obs_horizon=3, goal_horizon=2, action_horizon=1, executed_actions=True, seed=0):
    torch.manual_seed(seed)
    net = ScoreTransformer(
        D, DG, A, obs_horizon, goal_horizon, action_horizon, executed_actions, 24, 2, 2, 0.0, 0.0
    ).eval()  # fmt: skip
    with torch.no_grad():  # weights large enough for inputs to matter; a fresh GPT head hardly looks at them
        for parameter in net.parameters():
            parameter.normal_(0.0, 0.3)
    return net


def inputs(net, seed=1):
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, generator=generator)

    w, g = net.obs_horizon, net.goal_horizon
    known = torch.ones(B, w - 1, dtype=torch.bool)
    return [draw(B, w, D), draw(B, g, DG) if g else None, draw(B, w - 1, A), known], draw(B, net.targets, A)


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


@pytest.mark.usefixtures("full_precision")
@pytest.mark.parametrize("executed_actions", [True, False])
@pytest.mark.parametrize(
    ("obs_horizon", "goal_horizon", "action_horizon"), [(3, 2, 1), (1, 0, 4), (3, 0, 4), (1, 1, 1)]
)
def test_decoding_from_the_cached_context_is_the_forward_pass(
    obs_horizon, goal_horizon, action_horizon, executed_actions
):
    net = network(obs_horizon, goal_horizon, action_horizon, executed_actions)
    parts, noisy = inputs(net)
    context = net.context(*parts)
    full = net(context, noisy, torch.full((B, 1), -0.3))[:, -action_horizon:]
    with torch.inference_mode():
        decoder = ScoreDecoder(net, context)
        decoder(torch.ones_like(noisy[:, -action_horizon:]), -0.1)
        for _ in range(2):  # the context serves many steps
            assert torch.allclose(decoder(noisy[:, -action_horizon:], -0.3), full, atol=1e-5)
        assert torch.allclose(ScoreDecoder(net, context)(noisy[:, -action_horizon:], -0.3), full, atol=1e-5)
        alone = ScoreDecoder(net, context[:1])
        for _ in range(2):
            assert torch.allclose(alone(noisy[:1, -action_horizon:], -0.3), full[:1], atol=1e-5)


def half_precision_offered():
    return score_decoder._in_half_precision(torch.ones(8, 8), torch.zeros(8)) is not None


def test_decoding_rounds_weights_to_half_precision_and_no_more():
    if not half_precision_offered():
        pytest.skip("torch has no fbgemm here")
    net, rounded = network(), network()
    rounded.load_state_dict(net.state_dict())
    with torch.no_grad():
        for layer in (part for block in rounded.blocks for part in block.modules() if isinstance(part, nn.Linear)):
            layer.weight.copy_(layer.weight.half().float())
    parts, noisy = inputs(net)
    exact, expected = (n(n.context(*parts), noisy, torch.zeros(B, 1))[:, -1:] for n in (net, rounded))
    rows = [part[:1] for part in parts]
    decoded = ScoreDecoder(net, net.context(*rows))(noisy[:1, -1:], 0.0)
    assert torch.allclose(decoded, expected[:1], atol=1e-5)
    assert 1e-6 < (decoded - exact[:1]).abs().max() < 2e-3


def test_weights_that_half_precision_does_not_hold_stay_as_they_are():
    weight = torch.ones(8, 8)
    for wrong in (7e4, float("nan"), float("inf")):
        assert score_decoder._in_half_precision(weight.index_fill(0, torch.tensor([3]), wrong), torch.zeros(8)) is None
    assert score_decoder._in_half_precision(weight.double(), torch.zeros(8)) is None


@pytest.mark.usefixtures("full_precision")
def test_decoding_follows_weights_that_change():
    net, other = network(), network(seed=5)
    parts, noisy = inputs(net)
    expected = {}
    for name, source in (("net", net), ("other", other)):
        expected[name] = source(source.context(*parts), noisy, torch.zeros(B, 1))[:, -1:]
    assert not torch.allclose(expected["net"], expected["other"], atol=1e-3)
    before = ScoreDecoder(net, net.context(*parts))(noisy[:, -1:], 0.0)
    net.load_state_dict(other.state_dict())
    after = ScoreDecoder(net, net.context(*parts))(noisy[:, -1:], 0.0)
    assert torch.allclose(before, expected["net"], atol=1e-5)
    assert torch.allclose(after, expected["other"], atol=1e-5)


@pytest.mark.usefixtures("full_precision")
@pytest.mark.parametrize("frozen", [(), ("head.bias",)], ids=["all", "without the head's bias"])
def test_decoding_follows_fused_optimisers_which_change_weights_unnoticed(frozen):
    # torch counts no version of what a fused step writes
    net = network()
    parts, noisy = inputs(net)
    ScoreDecoder(net, net.context(*parts))(noisy[:, -1:], 0.0)
    net.train()
    optimizer = torch.optim.AdamW([p for name, p in net.named_parameters() if name not in frozen], 0.1, fused=True)
    net(net.context(*parts), noisy, torch.zeros(B, 1)).square().mean().backward()
    optimizer.step()
    net.eval()
    expected = net(net.context(*parts), noisy, torch.zeros(B, 1))[:, -1:]
    assert torch.allclose(ScoreDecoder(net, net.context(*parts))(noisy[:, -1:], 0.0), expected, atol=1e-5)
    # nor has everybody who trains called train() in between
    optimizer.step()
    if not frozen:
        expected = net(net.context(*parts), noisy, torch.zeros(B, 1))[:, -1:]
        assert torch.allclose(ScoreDecoder(net, net.context(*parts))(noisy[:, -1:], 0.0), expected, atol=1e-5)


@pytest.mark.usefixtures("full_precision")
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_decoding_follows_a_network_that_moves(dtype):
    net = network()
    parts, noisy = inputs(net)
    ScoreDecoder(net, net.context(*parts))(noisy[:, -1:], 0.0)
    net.to(torch.float64).to(dtype)
    values = [part if part.dtype == torch.bool else part.to(dtype) for part in parts]
    noisy, level = noisy.to(dtype), torch.zeros(B, 1, dtype=dtype)
    expected = net(net.context(*values), noisy, level)[:, -1:]
    assert torch.allclose(ScoreDecoder(net, net.context(*values))(noisy[:, -1:], 0.0), expected, atol=1e-5)


def test_training_in_bfloat16_has_nearly_the_gradients_of_float32():
    gradients = []
    for precision in (torch.float32, torch.bfloat16):
        net = network(action_horizon=4).train()
        parts, noisy = inputs(net)
        with torch.autocast("cpu", dtype=precision, enabled=precision != torch.float32):
            net(net.context(*parts), noisy, torch.zeros(B, 1)).square().mean().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None]))
    assert torch.cosine_similarity(*gradients, dim=0) > 0.99
