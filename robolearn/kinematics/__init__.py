"""Robots as models: where their files come from. Knows no scene and no driver."""
