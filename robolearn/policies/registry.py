"""Policies by name. Adding one is one file and one line here."""

from robolearn.core.registry import Registry

POLICIES = Registry(
    "policy",
    {
        "bc": "robolearn.policies.bc:BcPolicy",
        "beso": "robolearn.policies.beso:BesoPolicy",
    },
    extra="train",
)
