"""Exp2: is a feature causal? Each is set to a value while the model answers, and asked again."""
