"""Exp2's question, computed from the first token's logits."""
