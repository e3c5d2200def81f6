"""Policies by name. Adding one is one file and one line here, or an entry point of a package of your own."""

from robolearn.core.registry import Registry

POLICIES = Registry(
    "policy",
    {
        "act": "robolearn.policies.act:ActPolicy",
        "bc": "robolearn.policies.bc:BcPolicy",
        "bc_rnn": "robolearn.policies.bc_rnn:BcRnnPolicy",
        "bc_transformer": "robolearn.policies.bc_transformer:BcTransformerPolicy",
        "beso": "robolearn.policies.beso:BesoPolicy",
        "diffusion": "robolearn.policies.diffusion:DiffusionPolicy",
        "vq_bet": "robolearn.policies.vq_bet:VqBetPolicy",
    },
    extra="train",
    group="robolearn.policies",
)
