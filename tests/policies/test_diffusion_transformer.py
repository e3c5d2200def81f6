"""The diffusion transformer against torch's decoder, and who may look at what."""

import pytest
import torch
from torch import nn

from robolearn.core.errors import ConfigError
from robolearn.policies.networks.diffusion_transformer import DiffusionTransformer

CHUNK, W = 6, 2


def small(**options):
    torch.manual_seed(0)
    sizes = {"obs_dim": 5, "obs_horizon": W, "goal_dim": 3, "goal_horizon": 1}
    network = {"dim": 16, "layers": 2, "heads": 4, "dropout": 0.0}
    return DiffusionTransformer(2, CHUNK, **{**sizes, **network, **options})


def inputs(rows=3):
    generator = torch.Generator().manual_seed(1)
    shapes = [(rows, CHUNK, 2), (rows, W, 5), (rows, 1, 3)]
    actions, observation, goal = (torch.randn(shape, generator=generator) for shape in shapes)
    return actions, torch.tensor([0, 40, 99])[:rows], observation, goal


def test_size_is_the_published_one():
    """8 layers of 256: 8.4 M in the decoder, 9.0 M in all; Push-T keypoints, a chunk of 10."""
    transformer = DiffusionTransformer(2, 10, obs_dim=20, obs_horizon=2)
    decoder = nn.TransformerDecoderLayer(256, 4, 1024)
    expected = 8 * sum(p.numel() for p in decoder.parameters())
    assert expected / 1e6 == pytest.approx(8.4, abs=0.05)
    mlp = 256 * 1024 + 1024 + 1024 * 256 + 256
    embeddings = (2 * 256 + 256) + (20 * 256 + 256) + (10 + 3) * 256
    count = sum(p.numel() for p in transformer.parameters())
    assert count == expected + mlp + embeddings + 2 * 256 + (256 * 2 + 2)
    assert count / 1e6 == pytest.approx(9.0, abs=0.05)


def test_values_are_those_of_torchs_decoder():
    transformer = small().eval()
    layer = nn.TransformerDecoderLayer(16, 4, 64, 0.0, "gelu", batch_first=True, norm_first=True)
    decoder = nn.TransformerDecoder(layer, 2).eval()
    with torch.no_grad():
        for i, (ours, theirs) in enumerate(zip(transformer.layers, decoder.layers, strict=True)):
            theirs.self_attn.in_proj_weight.copy_(ours.qkv.weight)
            theirs.self_attn.in_proj_bias.copy_(ours.qkv.bias)
            rows = slice(32 * i, 32 * (i + 1))
            memory = transformer.memory_kv
            theirs.multihead_attn.in_proj_weight.copy_(torch.cat([ours.query.weight, memory.weight[rows]]))
            theirs.multihead_attn.in_proj_bias.copy_(torch.cat([ours.query.bias, memory.bias[rows]]))
            for mine, other in [
                (ours.project_self, theirs.self_attn.out_proj),
                (ours.project_cross, theirs.multihead_attn.out_proj),
                (ours.expand, theirs.linear1), (ours.contract, theirs.linear2),
                (ours.norm_self, theirs.norm1), (ours.norm_cross, theirs.norm2), (ours.norm_mlp, theirs.norm3),
            ]:  # fmt: skip
                other.load_state_dict(mine.state_dict())
        actions, step, observation, goal = inputs()
        tokens = [transformer._step_tokens(step)[:, None], transformer._known_tokens(observation, goal)]
        memory = transformer.memory(torch.cat(tokens, dim=1))
        x = transformer.embed_action(actions) + transformer.position
        # row: action; columns: step, goal, the two observations
        mask = torch.tensor([[False, False, False, i < 1] for i in range(CHUNK)])
        causal = torch.ones(CHUNK, CHUNK, dtype=torch.bool).triu(1)
        expected = transformer.head(transformer.norm(decoder(x, memory, tgt_mask=causal, memory_mask=mask)))
        torch.testing.assert_close(transformer(actions, step, observation, goal), expected, rtol=1e-4, atol=1e-6)


def changed(transformer, index, edit):
    """Which actions of the chunk change when one input does."""
    with torch.no_grad():
        before, tensors = transformer(*inputs(1)), [t.clone() for t in inputs(1)]
        edit(tensors[index])
        after = transformer(*tensors)
    return [i for i in range(CHUNK) if not torch.equal(before[0, i], after[0, i])]


def test_an_action_sees_only_itself_and_earlier_ones():
    assert changed(small(), 0, lambda actions: actions[:, 3].add_(1)) == [3, 4, 5]


def test_an_action_sees_the_observations_up_to_its_own_time():
    assert changed(small(), 2, lambda observation: observation[:, 1].add_(1)) == [1, 2, 3, 4, 5]


def test_every_action_sees_step_and_goal():
    assert changed(small(), 1, lambda step: step.add_(1)) == list(range(CHUNK))
    assert changed(small(), 3, lambda goal: goal.add_(1)) == list(range(CHUNK))


@pytest.mark.parametrize("goals", [True, False])
def test_denoiser_gives_the_networks_values_at_each_step(goals):
    transformer = small() if goals else small(goal_dim=0, goal_horizon=0)
    actions, steps, *condition = inputs() if goals else inputs()[:3]
    predict = transformer.eval().denoiser(steps, *condition)
    for i, step in enumerate(steps):
        whole = transformer(actions, step.expand(3), *condition)
        torch.testing.assert_close(predict(actions, i), whole, rtol=1e-4, atol=1e-6)


def test_every_weight_matters():
    transformer = small(dropout=0.1, embedding_dropout=0.1)
    transformer(*inputs()).square().sum().backward()
    # the bias of keys shifts all scores of a query alike, which softmax does not see
    assert [name for name, p in transformer.named_parameters() if not p.grad.abs().max() > 0] == []


def test_a_width_that_the_heads_do_not_divide_is_refused():
    with pytest.raises(ConfigError, match="multiple of its 4 heads, found 18"):
        small(dim=18)


def test_a_width_too_small_to_embed_a_step_is_refused():
    with pytest.raises(ConfigError, match="at least 4 and a multiple of its 2 heads, found 2"):
        small(dim=2, heads=2)
