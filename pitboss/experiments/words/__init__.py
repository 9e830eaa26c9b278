"""Exp3: tokens, words and contexts of the features found causal."""
