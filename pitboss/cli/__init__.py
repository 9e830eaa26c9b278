"""`pitboss`: begin studies and look at them from a terminal."""

import sys

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit status. Ctrl-C ends it with 130, at any moment."""
    try:
        from pitboss.cli.command_line import (
            main as command,  # takes a second, in which it may be stopped
        )

        return command(arguments)
    except KeyboardInterrupt:
        print("pitboss: Stopped. What is stored stays; the same command goes on.", file=sys.stderr)
        return 130
