"""The programs that are compared. All make the same patched generations."""

from bench.programs.base import Answer, Program, Unavailable
from bench.programs.bridge import Bridge
from bench.programs.continuous import ContinuousBatching
from bench.programs.generate import Generate
from bench.programs.original import Original
from bench.programs.ours import Ours

ALTERNATIVES: tuple[type[Program], ...] = (Original, Generate, Bridge, ContinuousBatching)

__all__ = ["ALTERNATIVES", "Answer", "Ours", "Program", "Unavailable"]
