"""How much of a GPU each experiment of a study takes, by the engine's memory model.

The number of rows in flight adapts to what is allowed, so a footprint is what the engine takes of
an allowance: `engine.memory_gb` of the study, or 25 GB, which the plan gives each of its jobs.
"""

from pitboss.errors import BadInput
from pitboss.games.prompts import PROMPTS, Round, State, render
from pitboss.games.scenes import SHARED_PROMPTS, scene, state_names
from pitboss.models.catalogue import sae_release
from pitboss.studies.model import Study

ALLOWANCE_GB = 25.0
# Without the model's tokenizer: English text has about four characters a token, numbers fewer.
_CHARACTERS_PER_TOKEN = 3


def footprint(study: Study, experiment: str, model: str) -> tuple[int, str]:
    """Bytes, and a sentence on where they come from.

    Args:
        model: The study's name of the model.
    """
    import torch

    from pitboss.engine import EngineConfig
    from pitboss.engine.memory import fitting_slots, need

    spec, engine = study.spec(model), study.engine
    dtype = torch.float32 if engine.dtype == "float32" else torch.bfloat16
    prompt, tokens, prefixes, captured = _texts(study, experiment, model)
    config = EngineConfig(
        width=engine.width_of(experiment),
        prompt_capacity=prompt,
        token_capacity=tokens,
        prefixes=prefixes,
        capture_layers=tuple(range(captured)),
        precision="fp8" if engine.precision == "fp8" else None,
    )
    saes = _sae(study, model) if experiment in ("features", "words", "screening") else 0
    allowed = round((engine.memory_gb or ALLOWANCE_GB) * 1e9)
    try:
        slots = fitting_slots(spec, config, dtype, allowed, saes)
    except BadInput:
        slots = 1
    parts = need(spec, config, dtype, slots, saes)
    allowance = f"{allowed / 1e9:g} GB allowed"
    if parts.total > allowed:
        allowance += ", which is too little even for one row"
    weights = f"{parts.weights / 1e9:.1f} GB weights"
    return parts.total, f"memory model: {weights}, {slots:,} rows in flight ({allowance})"


def _texts(study: Study, experiment: str, model: str) -> tuple[int, int, int | None, int]:
    """Tokens of the longest prompt and response, prompts shared by rows, and layers captured."""
    if experiment == "patching":
        settings = study.patching
        states = state_names(0, settings.states.count) if settings.states else []
        prompts = [*settings.prompts, *states]
        longest = max(len(scene(prompt).text) for prompt in prompts)
        return (
            longest // _CHARACTERS_PER_TOKEN,
            settings.sampling.max_new_tokens,
            min(len(prompts), SHARED_PROMPTS),
            0,
        )
    if experiment == "screening":
        assert study.screening is not None
        prompts = study.screening.prompts
        longest = max(len(render(prompt).text) for prompt in prompts)
        return longest // _CHARACTERS_PER_TOKEN, 1, len(prompts), 0
    if experiment == "words":
        return 1, 1, 1, 0
    if experiment == "persistent" and study.persistent is not None:
        held = study.persistent
        longest = len(_longest(held.prompt)) // _CHARACTERS_PER_TOKEN
        return longest, held.sampling.max_new_tokens, None, 0
    games = study.pathway.prompt if experiment == "pathway" else study.games.prompt
    longest = len(_longest(games)) // _CHARACTERS_PER_TOKEN
    if experiment == "features":
        return longest, 1, None, len(study.features.layers)
    if experiment == "pathway":
        return longest, study.pathway.sampling.max_new_tokens, None, len(study.pathway.layers)
    return longest, study.games.sampling_for(model).max_new_tokens, None, 0


def _longest(prompt: str) -> str:
    """A game's prompt with every component and a full history."""
    if not PROMPTS[prompt].needs_state:
        return render(prompt).text
    rounds = tuple(Round(n, 1_000_000, False, 9_000_000) for n in range(91, 100))
    return render(prompt, State(PROMPTS[prompt].fullest, 9_000_000, rounds)).text


def _sae(study: Study, model: str) -> int:
    """Bytes of one whole SAE in float32, encoder and decoder."""
    release = sae_release(study.models[model].sae)
    return 2 * 4 * release.d_model * release.d_sae
