"""How much of a GPU each experiment takes, by the engine's memory model.

The number of slots adapts to what is allowed, so a footprint is what the engine takes of an
allowance: `engine.memory_gb` of the study, or 25 GB, which the plan gives each of its jobs.
"""

from pitboss.errors import BadInput
from pitboss.models.catalogue import sae_release
from pitboss.studies.model import Study
from pitboss.studies.workload import Workload

ALLOWANCE_GB = 25.0


def footprint(study: Study, work: Workload) -> tuple[int, str]:
    """Bytes of a GPU that an experiment takes, and a sentence on where they come from."""
    import torch

    from pitboss.engine.config import EngineConfig
    from pitboss.engine.memory import fitting_slots, need

    spec, engine, shape = study.spec(work.model), study.engine, work.shape
    dtype = torch.float32 if engine.dtype == "float32" else torch.bfloat16
    release = sae_release(study.models[work.model].sae)
    one_sae = 2 * 4 * release.d_model * release.d_sae  # encoder and decoder in float32
    config = EngineConfig(
        width=engine.width_of(own_prompts=study.experiments[work.experiment].own_prompts),
        prompt_capacity=shape.prompt,
        token_capacity=shape.tokens,
        prefixes=shape.prefixes,
        capture_layers=tuple(range(shape.captured)),
        precision="fp8" if engine.precision == "fp8" else None,
    )
    saes = shape.saes * one_sae
    allowed = round((engine.memory_gb or ALLOWANCE_GB) * 1e9)
    try:
        slots = fitting_slots(spec, config, dtype, allowed, saes)
    except BadInput:
        slots = 1
    parts = need(spec, config, dtype, slots, saes)
    allowance = f"{allowed / 1e9:g} GB allowed"
    if parts.total > allowed:
        allowance += ", which is too little even for one"
    weights = f"{parts.weights / 1e9:.1f} GB weights"
    return parts.total, f"memory model: {weights}, {slots:,} requests in flight ({allowance})"
