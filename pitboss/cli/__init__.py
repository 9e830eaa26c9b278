"""`pitboss`: look at studies from a terminal. It reads; nothing here starts or changes work."""

from pitboss.cli.main import main

__all__ = ["main"]
