"""A step captured once as a CUDA graph and replayed: thousands of kernels, one launch."""

from collections.abc import Callable
from typing import Any

import torch


class StepGraphs:
    """Graphs of one step by its variant, each captured when it is first needed.

    Args:
        step: Reads and writes buffers that never move; the variant is its only argument.
        pool: Memory pool shared with graphs that never run at the same time.
    """

    def __init__(self, step: Callable[[bool], None], pool: Any) -> None:
        self.step, self.pool = step, pool
        self.graphs: dict[bool, torch.cuda.CUDAGraph] = {}

    def run(self, variant: bool) -> None:
        """One step. The first of a variant runs as it is, which compiles what is not compiled."""
        graph = self.graphs.get(variant)
        if graph is not None:
            graph.replay()
            return
        self.step(variant)
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self.pool):  # records; nothing is computed
            self.step(variant)
        self.graphs[variant] = graph
