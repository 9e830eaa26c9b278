"""Which features carry a scene's decision: to first order in all layers at once, and exactly.

The scenes ask for the number of a choice, so that the first token decides and its log odds can be
differentiated. One pass forward and one back through the model give the gradient with respect to
every block's output at the last prompt token; activation times decoder row times gradient is what a
feature adds to the log odds, to first order. What it adds exactly is computed by the screening,
with the feature set to 0.
"""

import time
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F

from pitboss.engine.architecture import architecture
from pitboss.engine.forward import cap
from pitboss.engine.pressure import model_to_device
from pitboss.engine.screening import Screen
from pitboss.experiments.runtime.choices import BET, STOP, choice_tokens
from pitboss.experiments.runtime.context import Lane
from pitboss.experiments.runtime.identity import model_identity, prompts_identity, sae_identity
from pitboss.experiments.runtime.unit import Unit
from pitboss.games.prompts import render
from pitboss.models.hooks import block_outputs
from pitboss.models.loading import LoadedModel
from pitboss.store import PartRef, Store, table_of
from pitboss.studies.model import Study

WIDTH = 256
"""Rows of every matrix product: a scene has some hundred active features in a layer."""


def unit(study: Study) -> Unit | None:
    """The attribution of the pathway's scenes; None where it names none."""
    settings = study.pathway
    if not settings.scenes:
        return None
    model = model_identity(study, settings.model)
    model.pop("precision", None)  # the plain model's gradients, and exact changes
    return Unit(
        experiment="pathway",
        kind="attribution",
        slug=f"{settings.model}/attribution",
        identity={
            **model,
            "width": WIDTH,
            "prompts": prompts_identity(settings.scenes),
            "saes": [
                sae_identity(study, settings.model, layer, settings.gate)
                for layer in settings.layers
            ],
        },
        rows=None,
    )


def run(lane: Lane, store: Store, work: Unit, slots: int | None = None) -> PartRef:
    """Attribute each scene's decision to the features active in it, and commit.

    Raises:
        BadInput: A scene's first token makes no decision.
    """
    if done := work.ref(store):
        return done
    began, settings, loaded = time.time(), lane.study.pathway, lane.loaded
    lane.forget_engine()
    scenes = [render(name) for name in settings.scenes]
    choices = choice_tokens(loaded, scenes)
    prompts = [tuple(loaded.encode(scene.text)) for scene in scenes]
    gradients = margin_gradients(loaded, prompts, choices)
    screen = Screen(loaded, width=WIDTH, prompts=prompts, choices=choices, mass=False)
    frames = [
        _layer(lane, screen, layer, gradients[:, layer], settings.gate) for layer in settings.layers
    ]
    decided = screen.unpatched.decided
    assert decided is not None  # the unpatched decision is always over the whole vocabulary
    facts = {
        "device": str(loaded.device),
        "decided": dict(zip(settings.scenes, decided.tolist(), strict=True)),
    }
    table = table_of("attribution", pd.concat(frames, ignore_index=True))
    return work.commit(store, table, began, facts)


def margin_gradients(
    loaded: LoadedModel, prompts: Sequence[Sequence[int]], choices: Mapping[str, Sequence[int]]
) -> torch.Tensor:
    """Gradients of the log odds of stopping against betting, float32 [prompts, layers, d_model].

    With respect to each block's output at the last prompt token, through the blocks above it.
    """
    model_to_device(loaded.model, loaded.device)  # under pressure it may have been moved away
    arch = architecture(loaded.model)
    found = []
    for ids in prompts:
        tokens = torch.tensor([list(ids)], device=loaded.device)
        with torch.enable_grad(), block_outputs(loaded) as outputs:
            embedded = loaded.model.get_input_embeddings()(tokens).detach().requires_grad_()
            # The decoder scales its embeddings itself where its family does.
            last = loaded.model.model(inputs_embeds=embedded, use_cache=False).last_hidden_state
            margin = _margin(last[0, -1], arch.unembed, arch.logit_softcap, choices)
            layers = [outputs[layer] for layer in range(len(arch.blocks))]
            gradients = torch.autograd.grad(margin, layers)
        found.append(torch.stack([gradient[0, -1].float() for gradient in gradients]).detach())
    return torch.stack(found)


def _margin(
    normed: torch.Tensor,
    unembed: torch.Tensor,
    softcap: float | None,
    choices: Mapping[str, Sequence[int]],
) -> torch.Tensor:
    def mass(choice: str) -> torch.Tensor:
        rows = unembed[torch.tensor(list(choices[choice]), device=unembed.device)].float()
        return cap(F.linear(normed.float(), rows), softcap).logsumexp(-1)

    return mass(STOP) - mass(BET)


def _layer(
    lane: Lane, screen: Screen, layer: int, gradients: torch.Tensor, gate: str
) -> pd.DataFrame:
    """Every feature of a layer that is active in a scene.

    Args:
        gradients: float32 [prompts, d_model].
    """
    sae = lane.sae(layer, gate, keep=False)  # type: ignore[arg-type]
    with torch.inference_mode():
        own = sae.encode(screen.clean(layer).float())
        ids = (own != 0).any(0).nonzero()[:, 0]
        own, rows = own[:, ids], sae.W_dec[ids]
        first_order = own * (gradients.to(rows.device) @ rows.float().T)
    found = screen.run(layer, rows.float(), -own[:, None])
    unpatched = screen.unpatched.log_odds(STOP, BET)[:, None]
    exact = unpatched - found.decisions.log_odds(STOP, BET)[:, 0]
    return pd.DataFrame(
        {
            "model": lane.loaded.spec.id,
            "layer": layer,
            "feature": ids.cpu().numpy(),
            "n": (own != 0).sum(0).cpu().numpy(),
            "attribution": first_order.double().mean(0).cpu().numpy(),
            "patched": np.asarray(exact.mean(0), np.float64),
        }
    )
