"""Exp1: how the decision forms, layer by layer and round by round."""
