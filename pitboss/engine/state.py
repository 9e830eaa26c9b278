"""The states of an engine: running, parked or closed. All it holds on a device hangs on one."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from pitboss.engine.architecture import architecture
from pitboss.engine.compiled import Way
from pitboss.engine.config import EngineConfig
from pitboss.engine.forward import RotaryTable
from pitboss.engine.patches import Directions
from pitboss.engine.precision import in_fp8
from pitboss.engine.prefix import PrefixStore
from pitboss.engine.runner import Runner
from pitboss.engine.stack import Stack
from pitboss.models.loading import LoadedModel
from pitboss.saes.loading import SaeLayer


class Running:
    """The model is on its device, and with it the memory of some slots.

    Args:
        slots: Requests in flight, over all micro-batches.

    Attributes:
        slots: Requests in flight of each micro-batch.
        arch: The view on the model's weights.
        prefix: Keys and values of prompts.
        runners: One a micro-batch.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        config: EngineConfig,
        slots: int,
        way: Way,
        seed: int,
        saes: Mapping[int, SaeLayer],
    ) -> None:
        fast = way == "compiled"
        self.slots = config.micro_batch_slots(fast, slots)
        arch = architecture(loaded.model)
        self.arch = arch = in_fp8(arch) if config.precision == "fp8" else arch
        with torch.inference_mode():
            like = arch.embed(torch.zeros(1, dtype=torch.int64, device=loaded.device)).clone()
            rotary = RotaryTable(arch, config.padded_prompt + config.token_capacity, like)
            prefix = PrefixStore(arch, rotary, config.prefixes or slots, config.padded_prompt, like)
            directions = Directions(max(1, slots * config.patch_slots), arch.d_model, like.device)
            pool = torch.cuda.graph_pool_handle() if fast else None
            self.prefix = prefix
            self.runners = [
                Runner(
                    arch,
                    Stack(arch, rotary, prefix, config, mine, way),
                    directions,
                    config,
                    seed=seed,
                    eos=loaded.eos_ids,
                    saes=saes,
                    pool=pool,
                )
                for mine in self.slots
            ]


@dataclass(frozen=True)
class Parked:
    """No slots. The weights are on the host, unless the engine is about to run again."""


@dataclass(frozen=True)
class Closed:
    """No slots, and never again."""


State = Running | Parked | Closed
