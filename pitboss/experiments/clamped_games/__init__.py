"""Exp5: what a feature does that is held at one value through whole games."""
