"""Evaluation: rollouts over fixed start states in worker processes, honest statistics, videos, figures and reports."""
