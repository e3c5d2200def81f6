"""Policies: what they are trained on, their losses and how they sample actions. They know no robot and no scene."""
