"""Training: one loop for all policies, averaged weights, schedules, metrics, resumable checkpoints."""
