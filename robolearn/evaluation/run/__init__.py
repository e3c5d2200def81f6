"""Running: a policy from fixed start states, in worker processes, filmed; and recorded episodes played back."""
