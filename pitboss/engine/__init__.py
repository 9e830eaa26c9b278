"""The patching engine: requests in, texts and activations out.

`Engine.run` is a pure function of its requests. Which device it runs on, how many slots it has, who
its neighbours in the batch are and how often it was interrupted changes nothing a request produces.
"""

from pitboss.engine.config import EngineConfig
from pitboss.engine.engine import Engine
from pitboss.engine.request import Generation, Patch, Request, Sampling

__all__ = ["Engine", "EngineConfig", "Generation", "Patch", "Request", "Sampling"]
