"""What was found and what it is worth: results, outcomes, intervals, paired tests, comparisons, figures."""

from robolearn.evaluation.statistics.intervals import Estimate, behaviour_entropy, bootstrap_mean, wilson_interval

__all__ = ["Estimate", "behaviour_entropy", "bootstrap_mean", "wilson_interval"]
