"""The one place that says which module a layer is and how its output is seen.

Layer l is block l; its hook point `blocks.{l}.hook_resid_post` is the block's output. In
transformers this equals `hidden_states[l + 1]`, except for the last block, whose entry there is
taken after the final norm. So outputs are taken by hooks, never from `hidden_states`.
"""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from pitboss.models.loading import LoadedModel


def blocks(loaded: LoadedModel) -> nn.ModuleList:
    """The decoder blocks, in order."""
    decoder: Any = loaded.model.model
    found: nn.ModuleList = decoder.layers
    return found


def final_norm(loaded: LoadedModel) -> nn.Module:
    """The norm between the last block and the unembedding."""
    decoder: Any = loaded.model.model
    found: nn.Module = decoder.norm
    return found


@contextmanager
def block_outputs(
    loaded: LoadedModel, layers: Collection[int] | None = None
) -> Iterator[dict[int, Tensor]]:
    """Within the context, the dict holds the last forward's output [b, t, d] of each block.

    Args:
        layers: The blocks whose outputs are kept; all if None.
    """
    outputs: dict[int, Tensor] = {}

    def keep(index: int, output: Any) -> None:
        # transformers before 5 returned a tuple; its first entry is then the residual stream.
        outputs[index] = output[0] if isinstance(output, tuple) else output

    handles = [
        block.register_forward_hook(lambda _module, _args, out, index=index: keep(index, out))
        for index, block in enumerate(blocks(loaded))
        if layers is None or index in layers
    ]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()
