"""Exp0: slot machine games."""
