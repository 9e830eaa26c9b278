"""The tables beside the patching of the made-up study: games, screening, words, pathway, Exp5."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from tests.report.played import MODEL, played

PROMPTS = {"exp2/safe": 0.35, "exp2/risky": 0.6}
HOSTILE = "</script><script>window.broken = 1</script><img src=x onerror='window.broken=2'>"


def beside(random: np.random.Generator, found: pd.DataFrame, layers: int,
            screened: int) -> Iterator[tuple[str, pd.DataFrame]]:  # fmt: skip
    """The tables beside the patching."""
    names = list(found[["layer", "feature"]].itertuples(index=False, name=None))
    yield from played().items()
    yield "statistics", pd.DataFrame(
        {"layer": range(5), "feature": 0, "status": ["tested"] + 4 * ["not_tested"],
         "reason": [None, *3 * ["fired_too_rarely"], "no_variance"]}
    ).assign(model=MODEL)  # fmt: skip
    yield "ranking", _ranking(random, layers, screened)
    few = names[:60]
    sets = [(x, f, p, v) for x, f in few for p in PROMPTS for v in ("safe", "risky")]
    shift = random.normal(0, 0.3, len(sets))
    screening = pd.DataFrame(sets, columns=["layer", "feature", "prompt", "value_name"])
    yield "screening", screening.assign(
        model=MODEL, value=1.0, own=0.5, p_bet=0.6, p_stop=0.4, decided=0.99,
        log_odds=-0.4 + shift, unpatched=-0.4, shift=shift, unchanged=False,
    )  # fmt: skip
    tokens = [(x, f, r, t) for x, f in few for r, t in enumerate(("stop", " enough", "<b>"), 1)]
    yield (
        "tokens",
        pd.DataFrame(tokens, columns=["layer", "feature", "rank", "token"]).assign(
            model=MODEL, sae="lab", matrix="unembedding", token_id=5, score=0.3
        ),
    )
    scores = (("stop", 4.1), ("keep", 2.2), ("again", -3.7), ("hope", -2.5))
    words = [(s, p, w, z) for s in ("all", "L0/F0") for p in PROMPTS for w, z in scores]
    yield "words", pd.DataFrame(words, columns=["scope", "prompt", "word", "z"]).assign(
        model=MODEL, count_safe=30, count_risky=12, rate_safe=9.5, rate_risky=4.0,
        responses_safe=25, n_safe=200, n_risky=200, p_responses=0.01, q_responses=0.03,
        responses_risky=11, log_odds=0.8, p=0.01, q=0.03,
    )  # fmt: skip
    text = ("I have won, so I", " stop", " here." + HOSTILE)
    contexts = [(x, f, r, *text) for x, f in few[:20] for r in (1, 2)]
    names3 = ["layer", "feature", "rank", "before", "token", "after"]
    yield (
        "contexts",
        pd.DataFrame(contexts, columns=names3).assign(
            model=MODEL, activation=3.5, source="game/1", part="prompt", position=4
        ),
    )
    curve = [(x, o, b, s * x / layers) for x in range(layers) for b in range(4)
             for o, s in (("voluntary_stop", 1.5 / (b + 1)), ("bankruptcy", -0.4))]  # fmt: skip
    yield (
        "pathway_curve",
        pd.DataFrame(curve, columns=["layer", "outcome", "before_end", "score"]).assign(
            model=MODEL, decisions=25, score_sd=0.8
        ),
    )
    grid = [(x, g, i) for x in range(layers) for g in ("game", "state")
            for i in ("sae", "residual", "baseline")]  # fmt: skip
    decodable = pd.DataFrame(grid, columns=["layer", "grouping", "inputs"])
    auc = 0.55 + 0.1 * decodable["layer"] / layers
    yield (
        "decodability",
        decodable.assign(
            model=MODEL, auc=auc, low=auc - 0.06, high=auc + 0.06, n_stop=93, n_bet=400, folds=5
        ),
    )
    lens = pd.DataFrame([(x, d) for x in range(layers) for d in ("stop", "bet")],
                        columns=["layer", "decision"])  # fmt: skip
    margin = np.where(lens["decision"] == "stop", 1, -1) * lens["layer"]
    yield "lens", lens.assign(
        model=MODEL, n=50, margin=margin.astype(float), margin_low=margin - 0.4,
        margin_high=margin + 0.4,
    )  # fmt: skip
    yield (
        "attribution",
        found[["model", "layer", "feature"]].assign(
            n=40, attribution=found["difference"] * 0.8, patched=found["difference"]
        ),
    )


def _ranking(random: np.random.Generator, layers: int, per_layer: int) -> pd.DataFrame:
    count = layers * per_layer
    contrast = random.standard_t(2, count) * 0.02
    contrast[random.random(count) < 0.6] = 0
    frame = pd.DataFrame(
        {
            "model": MODEL,
            "layer": np.repeat(np.arange(layers), per_layer),
            "feature": np.tile(np.arange(per_layer), layers),
            "shift": contrast / 2,
            "prompt": "exp2/risky",
            "value_name": "safe",
            "contrast": contrast,
            "contrast_prompt": "exp2/safe",
            "unchanged": contrast == 0,
        }
    )
    order = np.argsort(-np.abs(contrast), kind="stable")
    return frame.iloc[order].reset_index(drop=True).assign(rank=np.arange(1, count + 1))
