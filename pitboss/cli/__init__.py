"""`pitboss`: begin studies and look at them from a terminal."""

from pitboss.cli.main import main

__all__ = ["main"]
