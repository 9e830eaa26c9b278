"""One chunk of a screening on the device: what each value of each feature does to each prompt."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from pitboss.engine.screening import Screen, Screened
from pitboss.experiments.runtime.choices import BET, STOP, choice_tokens, require_decided
from pitboss.experiments.runtime.context import ModelContext
from pitboss.experiments.runtime.unit import Outcome
from pitboss.experiments.screening.chunks import Chunk
from pitboss.experiments.screening.settings import OF_GROUPS
from pitboss.games.prompts import Prompt
from pitboss.games.scenes import scene
from pitboss.models.checks import check_reconstruction, require
from pitboss.saes.loading import load_sae
from pitboss.saes.streaming import SaeStream
from pitboss.studies.fields import MAX_UNEXPLAINED

if TYPE_CHECKING:
    from pitboss.experiments.screening.experiment import Screening


def screen_chunk(context: ModelContext, screening: "Screening", chunk: Chunk) -> Outcome:
    """Compute all decisions of one chunk.

    Raises:
        BadInput: A prompt's first token does not make the decision, or an SAE that no selection has
            checked does not reconstruct its layer.
        Incomplete: The statistics that give the features their values are missing.
    """
    here = _resident(context, screening)
    if screening.selection is None:
        _require_fit(context, here, chunk)
    dec, own = _vectors(here, chunk)
    values = _values(here, chunk, screening.values, own)
    found = here.screen.run(chunk.layer, dec, values[None] - own[:, None])
    rows = _rows(here, chunk, screening.values, values.cpu().numpy(), own.cpu().numpy(), found)
    facts = {
        "device": str(context.loaded.device),
        "width": here.screen.width,
        "unchanged": int(found.unchanged.sum()),
    }
    return Outcome({"screening": rows.assign(model=context.loaded.spec.id)}, facts)


class _Resident(NamedTuple):
    """What stays on a context's device from chunk to chunk of one screening."""

    screening: "Screening"
    screen: Screen
    prompts: list[Prompt]
    saes: SaeStream
    means: dict[int, NDArray[np.float32]]
    """Layer -> float32 [groups named, features]; empty where no group is or a bank has them."""
    fitting: set[int]
    """Layers whose SAE was found to reconstruct them."""


_KEPT = "screening"


def _resident(context: ModelContext, screening: "Screening") -> _Resident:
    held: _Resident | None = context.kept.get(_KEPT)
    if held is not None and held.screening is screening:
        return held
    held = None
    context.kept.pop(_KEPT, None)  # another screening's prompts; they make room
    context.forget_engine()
    settings, loaded = screening.settings, context.loaded
    prompts = [scene(name) for name in screening.prompts]
    screen = Screen(
        loaded,
        width=settings.width,
        prompts=[tuple(loaded.encode(prompt.text)) for prompt in prompts],
        choices=choice_tokens(loaded, prompts),
        mass=settings.with_mass,
    )
    require_decided(screen, prompts, settings.min_decided_mass)
    release, gate = screening.sae, screening.gate
    stream = SaeStream(lambda layer: load_sae(release, layer, gate, loaded.device))
    of, groups = screening.means_of, [name for name in screening.values if name in OF_GROUPS]
    means = {} if of is None or not settings.every_feature else of.means(groups)
    context.kept[_KEPT] = made = _Resident(screening, screen, prompts, stream, means, set())
    return made


def _require_fit(context: ModelContext, here: _Resident, chunk: Chunk) -> None:
    """The SAE reconstructs this layer in the screened prompts, and no layer beside it better."""
    if chunk.layer in here.fitting:
        return
    limit = here.screening.settings.max_unexplained or MAX_UNEXPLAINED
    texts = [prompt.text for prompt in here.prompts]
    sae = here.saes.get(chunk.layer, chunk.following)
    require(check_reconstruction(context.loaded, [sae], texts, limit))
    here.fitting.add(chunk.layer)


@torch.inference_mode()
def _vectors(here: _Resident, chunk: Chunk) -> tuple[torch.Tensor, torch.Tensor]:
    """Decoder rows [features, d_model] and own activations [prompts, features]."""
    clean = here.screen.clean(chunk.layer).float()
    if chunk.bank is not None:
        bank = chunk.bank.to(clean.device)
        return bank.dec, torch.stack([bank.activation(x) for x in clean])
    sae = here.saes.get(chunk.layer, chunk.following)
    some = slice(int(chunk.features[0]), int(chunk.features[-1]) + 1)
    return sae.W_dec[some], sae.encode(clean)[:, some]


def _values(here: _Resident, chunk: Chunk, names: Sequence[str], own: torch.Tensor) -> torch.Tensor:
    """What the chunk's features are set to: float32 [values, features], on the device of `own`."""
    groups = [name for name in names if name in OF_GROUPS]
    found = {"off": torch.zeros_like(own[0]), "most": own.amax(0)}
    for at, name in enumerate(groups):
        if chunk.bank is not None:
            found[name] = chunk.bank.values[name].to(own.device)
        else:
            row = here.means[chunk.layer][at, chunk.features]
            found[name] = torch.from_numpy(row).to(own.device)
    return torch.stack([found[name] for name in names])


def _rows(
    here: _Resident,
    chunk: Chunk,
    names: Sequence[str],
    set_to: NDArray[Any],
    own: NDArray[Any],
    found: Screened,
) -> pd.DataFrame:
    """One row a prompt, value and feature, in this order."""
    decisions, shape = found.decisions, found.unchanged.shape
    log_odds = decisions.log_odds(STOP, BET)
    unpatched = here.screen.unpatched.log_odds(STOP, BET)[:, None, None]
    p = np.exp(decisions.log_p)
    prompts = np.array([prompt.name for prompt in here.prompts], dtype=object)

    def each(array: NDArray[Any]) -> NDArray[Any]:
        return np.broadcast_to(array, shape).ravel()

    return pd.DataFrame(
        {
            "layer": chunk.layer,
            "feature": each(chunk.features),
            "prompt": each(prompts[:, None, None]),
            "value_name": each(np.array(names, dtype=object)[None, :, None]),
            "value": each(set_to[None]),
            "own": each(own[:, None]),
            "p_bet": each(p[..., decisions.choices.index(BET)]),
            "p_stop": each(p[..., decisions.choices.index(STOP)]),
            "decided": None if decisions.decided is None else each(decisions.decided),
            "log_odds": each(log_odds),
            "unpatched": each(unpatched),
            "shift": each(log_odds - unpatched),
            "unchanged": each(found.unchanged),
        }
    )
