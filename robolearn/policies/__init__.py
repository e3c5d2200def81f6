"""Policies: what they are trained on, their losses and how they sample actions. Nothing here knows a robot or a scene."""
