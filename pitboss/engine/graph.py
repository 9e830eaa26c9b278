"""A step captured once as a CUDA graph and replayed: thousands of kernels, one launch."""

import gc
from collections.abc import Callable
from typing import Any

import torch


class StepGraphs:
    """Graphs of one step by its variant, each captured when it is first needed.

    Args:
        pool: Memory pool shared with graphs that never run at the same time.
    """

    def __init__(self, pool: Any) -> None:
        self.pool = pool
        self.graphs: dict[bool, torch.cuda.CUDAGraph] = {}

    def run(self, step: Callable[[bool], None], variant: bool) -> None:
        """One step. The first of a variant runs as it is, which compiles what is not compiled.

        Args:
            step: Reads and writes buffers that never move; the variant is its only argument. It is
                not kept: a cycle with its owner would hold on to the owner's memory.
        """
        graph = self.graphs.get(variant)
        if graph is not None:
            graph.replay()
            return
        step(variant)
        torch.cuda.synchronize()
        gc.collect()  # a graph of an engine that is gone must not be destroyed during the capture
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self.pool):  # records; nothing is computed
            step(variant)
        self.graphs[variant] = graph
