"""Exp5: whole games under a patch that stays."""
