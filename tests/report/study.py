"""A whole study's folder, made up: every table and document that the report can show.

Effects are planted: in every layer the first feature makes stops likelier, all others do nothing.
Tests are the project's own, so that the tables agree with each other as a real study's do.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from pitboss.analysis.proportions import (
    clopper_pearson,
    fisher_p,
    log_odds_ratio,
    newcombe,
    wilson,
)
from pitboss.games.conditions import ALL_CONDITIONS
from pitboss.saes.statistics import benjamini_hochberg
from pitboss.store import KINDS, Store

MODEL = "pitboss/lab-llama"
PROMPTS = {"exp2/safe": 0.35, "exp2/risky": 0.6}
HOSTILE = "</script><script>window.broken = 1</script><img src=x onerror='window.broken=2'>"
SETTINGS: dict[str, Any] = {
    "name": "night",
    "seed": 7,
    "models": {"llama": {"id": MODEL, "sae": "pitboss/lab-llama-scope"}},
    "patching": {"model": "llama", "fdr": 0.05, "trials": 20, "values": ["safe", "risky"]},
    "versions": {"pitboss": "0.1.0", "torch": "2.13.0"},
}
CONTRASTS = (("safe_vs_risky", "safe", "risky"), ("safe_vs_baseline", "safe", "baseline"),
             ("risky_vs_baseline", "risky", "baseline"))  # fmt: skip


def make(root: Path, *, layers: int = 4, per_layer: int = 12, controls: int = 10,
         trials: int = 20, screened: int = 400, null: bool = False) -> Store:  # fmt: skip
    """Writes the study; `null` plants nothing."""
    store = Store.create(root, SETTINGS)
    random = np.random.default_rng(11)
    runs = _trials(random, layers, per_layer, controls, trials, null)
    tested = _effects(runs)
    found = _findings(tested, trials)
    write(store, "trials", runs)
    write(store, "effects", tested.drop(columns="stops_causal"))
    write(store, "findings", found)
    for kind, frame in _beside(random, found, layers, screened):
        write(store, kind, frame)
    for name, document in _documents(tested, found, runs):
        store.write_json(name, document)
    return store


def write(store: Store, kind: str, frame: pd.DataFrame) -> None:
    """The final file of a kind, with the columns that its schema names."""
    schema = KINDS[kind].schema if kind in KINDS else None
    if schema is not None and set(schema.names) == set(frame.columns):
        table = pa.Table.from_pandas(frame[schema.names], schema=schema, preserve_index=False)
    else:
        table = pa.Table.from_pandas(frame, preserve_index=False)
    pq.write_table(table, store.path / f"{kind}.parquet")


def _trials(random: np.random.Generator, layers: int, per_layer: int, controls: int, n: int,
            null: bool) -> pd.DataFrame:  # fmt: skip
    """One block of rows a role, prompt, arm, layer and feature."""
    frames = []
    for prompt, level in PROMPTS.items():
        blocks = [("baseline", "baseline", -1, -1, None, 0.0)]
        blocks += [("reconstruction", "reconstruction", x, -1, None, 0.0) for x in range(layers)]
        for arm, side in (("safe", 1), ("risky", -1)):
            for layer in range(layers):
                for feature in range(per_layer):
                    shift = 0.0 if null or feature else side * 0.38
                    blocks.append(("feature", arm, layer, feature, None, shift))
            for number in range(controls):
                home = f"L{number % layers}/F0"
                blocks.append(("random_feature", arm, number % layers, 900 + number, home, 0.0))
                blocks.append(("random_direction", arm, number % layers, number, home, 0.0))
        size = len(blocks)
        rate = np.clip(level + np.array([b[5] for b in blocks]), 0.02, 0.98)
        noise = random.random(n)  # shared by all arms, as in a real study
        stop = noise[None, :] < rate[:, None] + random.normal(0, 0.05, (size, n))
        none = random.random((size, n)) < 0.02
        names = np.array(["baseline", "safe", "risky", "own", "reconstruction"], dtype=object)
        arms = np.array([b[1] for b in blocks], dtype=object)
        assert set(arms) <= set(names)
        frame = pd.DataFrame(
            {
                "role": np.repeat([b[0] for b in blocks], n),
                "arm": np.repeat(arms, n),
                "layer": np.repeat([b[2] for b in blocks], n),
                "feature": np.repeat([b[3] for b in blocks], n),
                "matched": np.repeat(np.array([b[4] for b in blocks], dtype=object), n),
                "trial": np.tile(np.arange(n), size),
                "decision": np.where(none, "none", np.where(stop, "stop", "bet")).ravel(),
            }
        )
        frame["prompt"] = frame["scene"] = prompt
        frame["noise"] = prompt + "/" + frame["trial"].map("{:03d}".format)
        frames.append(frame)
    runs = pd.concat(frames, ignore_index=True)
    runs["phase"], runs["model"], runs["seed"] = "discovery", MODEL, 7
    patched = ~runs["role"].isin(["baseline"])
    runs["layer"] = runs["layer"].where(patched).astype("Int16")
    named = runs["role"].isin(["feature", "random_feature", "random_direction"])
    runs["feature"] = runs["feature"].where(named).astype("Int32")
    runs["value"] = runs["arm"].map({"safe": 4.0, "risky": 0.5}).astype("float32")
    runs["mode"] = pd.Series("delta", index=runs.index).where(patched)
    runs["positions"] = pd.Series("prompt_last", index=runs.index).where(patched)
    texts = {"stop": "2\nI walk away with what I have.", "bet": "1, $10\nOnce more.", "none": "Hm"}
    runs["response"] = runs["decision"].map(texts)
    runs.loc[runs["trial"] == 1, "response"] += f" {HOSTILE}"
    runs["n_tokens"], runs["finish"], runs["reader"] = 9, "eos", "menu/1"
    runs["amount"] = (
        pd.Series(10, index=runs.index).where(runs["decision"] == "bet").astype("Int32")
    )
    runs["reason"] = pd.Series("unreadable", index=runs.index).where(runs["decision"] == "none")
    runs["read_start"], runs["read_end"] = 0, runs["decision"].map({"stop": 1, "bet": 6, "none": 0})
    runs["balance"], runs["highest"], runs["prompt_sha256"] = 100, 100, "0" * 64
    parts = [
        runs[c].astype(object).map(str)
        for c in ("role", "layer", "feature", "prompt", "arm", "trial")
    ]
    runs["key"] = parts[0].str.cat(parts[1:], sep="/")
    return runs


def _effects(runs: pd.DataFrame) -> pd.DataFrame:
    """All contrasts of the decision to stop, and whether a run is readable."""
    by = ["role", "layer", "feature", "prompt"]
    counts = runs.groupby(["prompt", "role", "arm", "layer", "feature", "decision"], dropna=False)
    table = counts.size().unstack("decision", fill_value=0).reset_index()
    table["decided"] = table["bet"] + table["stop"]
    base = table[table["role"] == "baseline"].set_index("prompt")
    patched = table[table["role"].isin(["feature", "random_feature", "random_direction"])]
    arms = {arm: rows.set_index(by) for arm, rows in patched.groupby("arm")}
    frames = []
    for contrast, a, b in CONTRASTS:
        one = arms[a]
        two = (
            arms[b].loc[one.index] if b in arms else base.loc[one.index.get_level_values("prompt")]
        )
        for outcome in ("stop", "readable"):
            frames.append(_contrast(one, two, contrast, outcome))
    frame = pd.concat(frames, ignore_index=True)
    keys = pd.MultiIndex.from_frame(frame[["role", "layer", "feature"]])
    primary = (frame["contrast"] == "safe_vs_risky") & (frame["outcome"] == "stop")
    causal = frame[primary & frame["significant"]]
    frame["stops_causal"] = primary & frame["significant"]
    hit = pd.MultiIndex.from_frame(causal[["role", "layer", "feature"]].drop_duplicates())
    frame["causal"] = keys.isin(hit)
    frame.insert(0, "model", MODEL)
    return frame.sort_values([*by, "contrast", "outcome"]).reset_index(drop=True)


def _contrast(one: pd.DataFrame, two: pd.DataFrame, contrast: str, outcome: str) -> pd.DataFrame:
    def counted(side: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        none, decided = side["none"].to_numpy(), side["decided"].to_numpy()
        if outcome == "stop":
            return decided, side["stop"].to_numpy(), none
        return decided + none, decided, none

    (na, ea, xa), (nb, eb, xb) = counted(one), counted(two)
    frame = one.index.to_frame(index=False)
    testable = (ea + eb > 0) & (ea + eb < na + nb)
    p = np.where(testable, fisher_p(ea, na, eb, nb), np.nan)
    low, high = newcombe(ea, na, eb, nb)
    frame["phase"], frame["contrast"], frame["outcome"] = "discovery", contrast, outcome
    frame["status"] = np.where(testable, "tested", "not_testable")
    frame["reason"] = np.where(testable, None, "all runs the same")
    frame["n_a"], frame["events_a"], frame["none_a"] = na, ea, xa
    frame["n_b"], frame["events_b"], frame["none_b"] = nb, eb, xb
    frame["value_a"], frame["value_b"] = ea / na, eb / nb
    frame["difference"], frame["ci_low"], frame["ci_high"] = ea / na - eb / nb, low, high
    frame["log_odds_ratio"], frame["p"] = log_odds_ratio(ea, na, eb, nb), p
    frame["q"] = np.nan
    for _, rows in frame[testable].groupby("role"):
        frame.loc[rows.index, "q"] = benjamini_hochberg(rows["p"].to_numpy())
    frame["significant"] = (frame["q"] <= 0.05).to_numpy()
    frame["direction"] = np.where(frame["difference"] > 0, "safe_value_increases_stop",
                                  "safe_value_decreases_stop")  # fmt: skip
    frame["test"] = "fisher"
    for name in ("p_none", "q_none", "unreadable_arm", "e_value"):
        frame[name] = None
    frame["p_worst"] = frame["p"]
    return frame


def _findings(tested: pd.DataFrame, trials: int) -> pd.DataFrame:
    rows = tested[(tested["role"] == "feature") & (tested["outcome"] == "stop")
                  & (tested["contrast"] == "safe_vs_risky")]  # fmt: skip
    rows = rows.assign(order=rows["p"].fillna(2))
    best = rows.sort_values(["order", "prompt"]).groupby(["layer", "feature"]).first()
    hits = rows.groupby(["layer", "feature"])["significant"].sum()
    kept = ["model", "layer", "feature", "causal", "direction", "prompt", "difference", "ci_low"]
    frame = best.reset_index()[[*kept, "ci_high", "p", "q", "e_value"]]
    frame["prompts_causal"] = hits.to_numpy()
    frame["confirmed"] = pd.Series(True, index=frame.index, dtype="object").where(frame["causal"])
    frame["unreadable"] = False
    frame["runs"] = 2 * trials * len(PROMPTS)
    random = np.random.default_rng(3)
    frame["d"] = random.normal(0, 0.8, len(frame))
    frame["screen_shift"] = frame["difference"].to_numpy() * 4 + random.normal(0, 0.1, len(frame))
    return frame


def _beside(random: np.random.Generator, found: pd.DataFrame, layers: int,
            screened: int) -> Iterator[tuple[str, pd.DataFrame]]:  # fmt: skip
    """The tables beside the patching."""
    names = list(found[["layer", "feature"]].itertuples(index=False, name=None))
    yield "games", _games(random)
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
        responses_safe=25, responses_risky=11, log_odds=0.8, p=0.01, q=0.03,
    )  # fmt: skip
    text = ("I have won, so I", " stop", " here." + HOSTILE)
    contexts = [(x, f, r, *text) for x, f in few[:20] for r in (1, 2)]
    names3 = ["layer", "feature", "rank", "before", "token", "after"]
    yield (
        "contexts",
        pd.DataFrame(contexts, columns=names3).assign(
            model=MODEL, activation=3.5, source="decisions:game/1"
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
    yield "persistent_effects", _persistent(found)


def _games(random: np.random.Generator) -> pd.DataFrame:
    rows = []
    for condition in ALL_CONDITIONS:
        risk = 0.05 + 0.06 * len(condition.components) * (condition.bet_type == "variable")
        for n in range(5):
            outcome = "bankruptcy" if random.random() < risk else "voluntary_stop"
            rounds = int(random.integers(1, 12))
            rows.append((f"llama/{condition.key}/{n:03d}", condition.key, condition.bet_type,
                         condition.name, n, outcome, rounds, rounds * 12))  # fmt: skip
    columns = ["key", "condition", "bet_type", "components", "repetition", "outcome", "rounds",
               "total_bet"]  # fmt: skip
    return pd.DataFrame(rows, columns=columns).assign(
        experiment="games", model=MODEL, seed=7, prompt="exp0/planned", reason=None, wins=1,
        start_balance=100, final_balance=0, responses=4, retries=0,
    )  # fmt: skip


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


def _persistent(found: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for role, layer, feature, arm, hits in (
        ("baseline", None, None, "baseline", 12), ("feature", 1, 0, "safe", 2),
        ("feature", 1, 0, "risky", 25), ("random_feature", 1, 900, "risky", 13),
    ):  # fmt: skip
        low, high = wilson([hits], [40])
        rows.append({"role": role, "layer": layer, "feature": feature, "arm": arm, "n": 40,
                     "bankruptcies": hits, "bankruptcy": hits / 40, "low": low[0],
                     "high": high[0], "rounds": 6.0, "betting": 0.2, "loss_chasing": 0.3,
                     "extreme": 0.1})  # fmt: skip
    return pd.DataFrame(rows).assign(model=MODEL)


def _documents(
    tested: pd.DataFrame, found: pd.DataFrame, runs: pd.DataFrame
) -> Iterator[tuple[str, Any]]:
    rates = {}
    for role in ("random_feature", "random_direction"):
        rows = tested[(tested["role"] == role) & (tested["outcome"] == "stop")
                      & (tested["contrast"] == "safe_vs_risky")]  # fmt: skip
        features = rows.groupby(["layer", "feature"])["significant"].any()
        hits, of = int(features.sum()), len(features)
        low, high = clopper_pearson([hits], [of])
        rates[role] = {"tested": of, "hits": hits, "rate": hits / of, "low": float(low[0]),
                       "high": float(high[0])}  # fmt: skip
    baseline = []
    for prompt, rows in runs[runs["role"] == "baseline"].groupby("prompt"):
        decided, stops = (rows["decision"] != "none").sum(), (rows["decision"] == "stop").sum()
        low, high = wilson([stops], [decided])
        baseline.append({"prompt": prompt, "n": int(decided), "stops": int(stops),
                         "rate": stops / decided, "low": float(low[0]),
                         "high": float(high[0])})  # fmt: skip
    yield "controls.json", {
        "false_positive": rates,
        "own_value": {"runs": 40, "identical": 40},
        "reconstruction": [{"layer": 1, "prompt": "exp2/safe", "stop": 0.35, "low": 0.18,
                            "high": 0.57, "baseline": 0.4, "n": 20}],
        "permutation": {"permutations": 200, "median": 0, "q95": 2},
        "expected_false": 0.0,
        "expected_false_high": 4.0,
        "baseline": baseline,
    }  # fmt: skip
    yield "declaration.json", {"tests": int(len(found) * 2), "outcomes": ["stop"], "fdr": 0.05,
                               "families": ["safe_vs_risky over features and prompts"],
                               "mde": 0.42}  # fmt: skip
    yield "ladder.json", [
        {"step": 0, "name": "original", "rule": "sign of two differences", "count": 31, "of": 48,
         "gained": 0, "lost": 0, "note": "as published"},
        {"step": 1, "name": "ours", "rule": "Fisher and BH", "count": int(found["causal"].sum()),
         "of": 48, "gained": 0, "lost": 27, "note": ""},
    ]  # fmt: skip
    yield "readers.json", [
        {"prompt": p, "old": o, "read": r, "reason": "", "responses": n}
        for p in PROMPTS for o, r, n in (("bet", "bet", 500), ("stop", "bet", 300),
                                         ("stop", "stop", 200))
    ]  # fmt: skip
    patched = runs[runs["role"] != "baseline"]
    yield "summary.json", {
        "study": "night", "complete": True, "problems": [],
        "shortfalls": ["pathway/games: 20 of 25 with outcome bankruptcy."],
        "experiments": {"patching": {
            "parts": {"expected": 5, "actual": 5}, "rows": len(runs), "valid_responses": None,
            "lane_seconds": 41.0, "wall_seconds": 22.5, "rows_per_second": len(runs) / 22.5,
            "steps": {"trials": {
                "parts": {"expected": 5, "actual": 5},
                "rows": {"expected": len(runs), "actual": len(runs)},
                "valid_responses": {"valid": int((runs["decision"] != "none").sum()),
                                    "responses": len(runs), "rate": 0.98,
                                    "reasons": {"unreadable": 1}},
                "counts": {}, "lane_seconds": 41.0, "wall_seconds": 22.5,
                "rows_per_second": len(runs) / 22.5}}}},
        "patched_features": len(found), "causal_features": int(found["causal"].sum()),
        "fingerprint": "49043fe0d4561612", "patched_runs": len(patched),
    }  # fmt: skip
