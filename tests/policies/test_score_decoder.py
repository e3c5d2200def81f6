import pytest
import torch
from small_transformer import B, inputs, network
from torch import nn

from robolearn.policies.networks import decoder_layers
from robolearn.policies.networks.decoder_layers import BlockWeights, in_half_precision
from robolearn.policies.networks.prepared_score_transformer import PreparedScoreTransformer
from robolearn.policies.networks.score_decoder import ScoreDecoder


def live(net, context):
    """A decoder that reads the network's own weights."""
    return ScoreDecoder(net, [BlockWeights(block) for block in net.blocks], context)


def copied(net, context):
    return PreparedScoreTransformer(net).decoder(context)


@pytest.mark.usefixtures("full_precision")
@pytest.mark.parametrize("decoder", [live, copied])
@pytest.mark.parametrize("executed_actions", [True, False])
@pytest.mark.parametrize(
    ("obs_horizon", "goal_horizon", "action_horizon"), [(3, 2, 1), (1, 0, 4), (3, 0, 4), (1, 1, 1)]
)
def test_decoding_from_the_cached_context_is_the_forward_pass(
    obs_horizon, goal_horizon, action_horizon, executed_actions, decoder
):
    net = network(obs_horizon, goal_horizon, action_horizon, executed_actions)
    parts, noisy = inputs(net)
    context = net.context(*parts)
    full = net(context, noisy, torch.full((B, 1), -0.3))[:, -action_horizon:]
    with torch.inference_mode():
        used = decoder(net, context)
        used(torch.ones_like(noisy[:, -action_horizon:]), -0.1)
        for _ in range(2):  # the context serves many steps
            assert torch.allclose(used(noisy[:, -action_horizon:], -0.3), full, atol=1e-5)
        assert torch.allclose(decoder(net, context)(noisy[:, -action_horizon:], -0.3), full, atol=1e-5)
        alone = decoder(net, context[:1])
        for _ in range(2):
            assert torch.allclose(alone(noisy[:1, -action_horizon:], -0.3), full[:1], atol=1e-5)


def half_precision_offered():
    return in_half_precision(torch.ones(8, 8), torch.zeros(8)) is not None


def test_copies_round_weights_to_half_precision_and_no_more():
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
    decoded = copied(net, net.context(*rows))(noisy[:1, -1:], 0.0)
    assert torch.allclose(decoded, expected[:1], atol=1e-5)
    assert 1e-6 < (decoded - exact[:1]).abs().max() < 2e-3
    assert torch.allclose(live(net, net.context(*rows))(noisy[:1, -1:], 0.0), exact[:1], atol=1e-5)


def test_many_rows_are_multiplied_by_weights_that_are_not_rounded():
    layer = nn.Linear(24, 24)
    rows = torch.randn(decoder_layers.FEW_ROWS + 1, 24)
    weights = decoder_layers.LinearWeights(layer, copied=True)
    assert torch.equal(weights(rows), torch.addmm(layer.bias, rows, layer.weight.t()))


def test_weights_that_half_precision_does_not_hold_stay_as_they_are():
    weight = torch.ones(8, 8)
    for wrong in (7e4, float("nan"), float("inf")):
        assert in_half_precision(weight.index_fill(0, torch.tensor([3]), wrong), torch.zeros(8)) is None
    assert in_half_precision(weight.double(), torch.zeros(8)) is None
