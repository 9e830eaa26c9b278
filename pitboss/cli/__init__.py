"""`pitboss`: look at studies and GPUs from a terminal. Nothing here starts or changes work."""

from pitboss.cli.main import main

__all__ = ["main"]
