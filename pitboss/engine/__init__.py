"""The patching engine: rows in, texts and activations out.

`Engine.run` is a pure function of its rows. Which device it runs on, how many slots it has, who its
neighbours in the batch are and how often it was interrupted changes nothing a row produces.
"""

from pitboss.engine.config import EngineConfig
from pitboss.engine.engine import Engine
from pitboss.engine.row import Generation, Patch, Row, Sampling

__all__ = ["Engine", "EngineConfig", "Generation", "Patch", "Row", "Sampling"]
