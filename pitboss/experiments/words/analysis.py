"""Which tokens the causal features' decoder rows promote, and which words their responses use."""

import numpy as np
import pandas as pd

from pitboss.analysis.tokens import top_tokens
from pitboss.analysis.words import compare_words
from pitboss.experiments.patching.arms import BASELINE
from pitboss.experiments.runtime.context import ModelContext
from pitboss.experiments.runtime.unit import Rows
from pitboss.experiments.words.settings import WordsSettings
from pitboss.saes.bank import FeatureBank


def used_words(trials: pd.DataFrame, causal: list[tuple[int, int]], prior: float) -> Rows:
    """Safe-value against risky-value responses: all causal features together, then each one.

    Args:
        trials: All runs of the patching.
        causal: Layer and feature of each.
        prior: Weight of the background corpus, see `compare_words`.
    """
    if not causal:
        return []
    # The states of a set are asked equally often in every arm, so the set is one stratum.
    trials = trials.assign(prompt=trials["scene"])
    names = pd.MultiIndex.from_frame(trials[["layer", "feature"]].fillna(-1).astype(int))
    patched = trials[names.isin(causal) & (trials["role"] == "feature")]
    baseline = trials[trials["arm"] == BASELINE]
    frames = [compare_words(pd.concat([patched, baseline]), prior=prior)]
    for layer, feature in causal:
        own = patched[(patched["layer"] == layer) & (patched["feature"] == feature)]
        scope = f"L{layer}/F{feature}"
        frames.append(compare_words(pd.concat([own, baseline]), scope=scope, prior=prior))
    return pd.concat(frames, ignore_index=True)


def promoted_tokens(context: ModelContext, bank: FeatureBank, settings: WordsSettings) -> Rows:
    """The tokens that the decoder row of each feature of a bank promotes most."""
    if not len(bank):
        return []
    loaded = context.loaded
    model = loaded.model
    matrix = model.lm_head if settings.matrix == "unembedding" else model.model.embed_tokens
    norm = model.model.norm.weight.float()
    # Gemma's norm multiplies by one plus its weight.
    scale = norm + 1 if loaded.spec.family == "gemma2" else norm
    best = top_tokens(
        bank.dec.numpy(),
        matrix.weight.detach().cpu().float().numpy(),  # not in float32 on the device
        norm_scale=scale.cpu().numpy(),
        top=settings.top_tokens,
        matrix=settings.matrix,
    )
    n, top = best.ids.shape
    return pd.DataFrame(
        {
            "model": loaded.spec.id,
            "sae": context.study.models[context.alias].sae,
            "layer": np.repeat(bank.layer.numpy(), top),
            "feature": np.repeat(bank.feature.numpy(), top),
            "matrix": settings.matrix,
            "rank": np.tile(np.arange(1, top + 1), n),
            "token_id": best.ids.ravel(),
            "token": [loaded.tokenizer.decode([i]) for i in best.ids.ravel().tolist()],
            "score": best.scores.ravel(),
        }
    )
