"""Which features carry a scene's decision: to first order in all layers at once, and exactly.

The scenes ask for the number of a choice, so that the first token decides and its log odds can be
differentiated. One pass forward and one back through the model give the gradient with respect to
every block's output at the last prompt token; activation times decoder row times gradient is what a
feature adds to the log odds, to first order. What it adds exactly is computed by the screening,
with the feature set to 0.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F

from pitboss.engine.architecture import architecture
from pitboss.engine.forward import cap
from pitboss.engine.pressure import model_to_device
from pitboss.engine.screening import Screen
from pitboss.experiments.pathway.settings import ATTRIBUTION_WIDTH, PathwaySettings
from pitboss.experiments.runtime.choices import BET, STOP, choice_tokens
from pitboss.experiments.runtime.context import ModelContext
from pitboss.experiments.runtime.unit import Outcome
from pitboss.games.prompts import render
from pitboss.models.hooks import block_outputs
from pitboss.models.loading import LoadedModel
from pitboss.saes.loading import Gate


def attribute(context: ModelContext, settings: PathwaySettings) -> Outcome:
    """Attribute each scene's decision to the features active in it.

    Returns:
        Rows of the kind `attribution`.

    Raises:
        BadInput: A scene's first token makes no decision.
    """
    loaded = context.loaded
    context.forget_engine()
    scenes = [render(name) for name in settings.scenes]
    choices = choice_tokens(loaded, scenes)
    prompts = [tuple(loaded.encode(scene.text)) for scene in scenes]
    gradients = margin_gradients(loaded, prompts, choices)
    screen = Screen(loaded, width=ATTRIBUTION_WIDTH, prompts=prompts, choices=choices, mass=False)
    frames = [
        _layer(context, screen, layer, gradients[:, layer], settings.gate)
        for layer in settings.layers
    ]
    decided = screen.unpatched.decided
    assert decided is not None  # the unpatched decision is always over the whole vocabulary
    facts = {
        "device": str(loaded.device),
        "decided": dict(zip(settings.scenes, decided.tolist(), strict=True)),
    }
    return Outcome({"attribution": pd.concat(frames, ignore_index=True)}, facts)


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
    context: ModelContext, screen: Screen, layer: int, gradients: torch.Tensor, gate: Gate
) -> pd.DataFrame:
    """Every feature of a layer that is active in a scene.

    Args:
        gradients: float32 [prompts, d_model].
    """
    sae = context.sae(layer, gate, keep=False)
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
            "model": context.loaded.spec.id,
            "layer": layer,
            "feature": ids.cpu().numpy(),
            "n": (own != 0).sum(0).cpu().numpy(),
            "attribution": first_order.double().mean(0).cpu().numpy(),
            "patched": np.asarray(exact.mean(0), np.float64),
        }
    )
