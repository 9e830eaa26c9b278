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

from pitboss.analysis.declaration import declaration
from pitboss.analysis.effects import effects
from pitboss.analysis.findings import expected_false, false_positives, findings, stop_rates
from pitboss.analysis.ladder import as_rows, ladder
from pitboss.analysis.repeats import NewTexts, repetitions
from pitboss.store import KINDS, Store, part_key, table_of
from tests.report.beside import HOSTILE, MODEL, PROMPTS, beside

SETTINGS: dict[str, Any] = {
    "name": "night",
    "seed": 7,
    "models": {"llama": {"id": MODEL, "sae": "pitboss/lab-llama-scope"}},
    "experiments": {
        "patching": {"kind": "patching", "fdr": 0.05, "trials": 20, "values": ["safe", "risky"]}
    },
    "versions": {"pitboss": "0.1.0", "torch": "2.13.0"},
}
TEXTS = {"baseline": {"repeats": 38, "new": 30}, "safe": {"repeats": 900, "new": 90}}
"""Draws of a prompt that was drawn before; those at the safe value mostly repeat one text."""


def make(root: Path, *, layers: int = 4, per_layer: int = 12, controls: int = 10,
         trials: int = 20, screened: int = 400, null: bool = False,
         longer: str = "") -> Store:  # fmt: skip
    """Writes the study; `null` plants nothing, `longer` is put behind every response."""
    store = Store.create(root, SETTINGS)
    random = np.random.default_rng(11)
    runs = _trials(random, layers, per_layer, controls, trials, null)
    runs["response"] += longer
    tested = effects(runs)
    found = _findings(tested, trials)
    write(store, "trials", runs)
    write(store, "effects", tested)
    write(store, "findings", found)
    for kind, frame in beside(random, found, layers, screened):
        write(store, kind, frame)
    for name, document in _documents(tested, found, runs):
        store.write_json(name, document)
    return store


def write(store: Store, kind: str, frame: pd.DataFrame) -> None:
    """A part of the kind and its final file, as a study makes them."""
    identity = {"made_up": kind}
    key = part_key("llama", identity)
    facts = {"seconds": 2.0, "device": "cpu"}
    for column in KINDS[kind].columns:  # those that the page does not look at
        if column.name not in frame and not column.nullable:
            frame = frame.assign(**{column.name: "" if column.type == pa.string() else 0})
    store.commit(kind, key, table_of(kind, frame), identity=identity, facts=facts)
    store.combine(kind, [key], kind)


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


def _findings(tested: pd.DataFrame, trials: int) -> pd.DataFrame:
    """As in a study whose candidates were all found again but the first."""
    random = np.random.default_rng(3)
    names = sorted(set(tested.loc[tested["role"] == "feature", ["layer", "feature"]].itertuples(
        index=False, name=None)))  # fmt: skip
    runs = {name: 2 * trials * len(PROMPTS) for name in names}
    d = {name: float(random.normal(0, 0.8)) for name in names}
    made = findings(tested, runs, d, {name: 3 * d[name] for name in names})
    again = pd.Series(True, index=made.index, dtype="object").where(made["causal"], None)
    if made["causal"].any():
        again[made.index[made["causal"]][0]] = False
    return made.assign(confirmed=again)


def _documents(
    tested: pd.DataFrame, found: pd.DataFrame, runs: pd.DataFrame
) -> Iterator[tuple[str, Any]]:
    expected = expected_false(tested) or (0.0, 0.0)
    baseline = stop_rates(runs[runs["role"] == "baseline"], ["scene"])
    yield "controls.json", {
        "false_positive": false_positives(tested),
        "own_value": {"runs": 40, "identical": 40},
        "reconstruction": [{"layer": 1, "prompt": "exp2/safe", "stop": 0.35, "low": 0.18,
                            "high": 0.57, "baseline": 0.4, "n": 20}],
        "permutation": {"permutations": 200, "median": 0, "q95": 2},
        "expected_false": expected[0],
        "expected_false_high": expected[1],
        "baseline": [{"prompt": row.pop("scene"), **row} for row in baseline],
    }  # fmt: skip
    yield "declaration.json", {"tests": int(len(found) * 2), "outcomes": ["stop"], "fdr": 0.05,
                               "families": ["safe_vs_risky over features and prompts"],
                               "power": {"scenes": declaration(tests=96, trials=20,
                                                               baselines=(0.25,))}}  # fmt: skip
    old = runs.assign(old_decision=runs["decision"], old_amount=runs["amount"])
    known = {role: _of(found, feature) for role, feature in (("causal", 0), ("null", 1))}
    yield "ladder.json", as_rows(ladder(old, tested, fdr=0.05, known=known))
    yield "original.json", {
        "choices": [
            {"prompt": "exp2/safe", "reader": reader, "responses": 3702, "decided": 3702,
             "stops": stops, "rate": stops / 3702, "low": 0.06, "high": 0.5, "as_ours": 1,
             "made_up": 0, "bets_called_stop": stops - 274}
            for reader, stops in (("original-exp2", 2013), ("menu", 274))
        ],
        "sentences": ["Of 577 answers that state no decision, original-exp2 makes 371 bets and 206 "
                      "stops."],
    }  # fmt: skip
    yield "readers.json", [
        {"prompt": p, "old": o, "read": r, "reason": "", "responses": n}
        for p in PROMPTS for o, r, n in (("bet", "bet", 500), ("stop", "bet", 300),
                                         ("stop", "stop", 200))
    ]  # fmt: skip
    patched = runs[runs["role"] != "baseline"]
    yield "summary.json", {
        "study": "night", "complete": True, "problems": [],
        "shortfalls": ["pathway/games: 20 of 25 with outcome bankruptcy."],
        "warnings": repetitions("patching/trials", {arm: NewTexts(**drawn)
                                                    for arm, drawn in TEXTS.items()}),
        "experiments": {"patching": {
            "parts": {"expected": 5, "actual": 5}, "rows": len(runs), "valid_responses": None,
            "worker_seconds": 41.0, "wall_seconds": 22.5, "rows_per_second": len(runs) / 22.5,
            "steps": {"trials": {
                "parts": {"expected": 5, "actual": 5},
                "rows": {"expected": len(runs), "actual": len(runs)},
                "valid_responses": {"valid": int((runs["decision"] != "none").sum()),
                                    "responses": len(runs), "rate": 0.98,
                                    "reasons": {"unreadable": 1}, "cut_off": 3},
                "new_texts": TEXTS,
                "counts": {}, "worker_seconds": 41.0, "wall_seconds": 22.5,
                "rows_per_second": len(runs) / 22.5}}}},
        "planted": {
            role: {"features": int((found["feature"] == feature).sum()),
                   "found_causal": int(found.loc[found["feature"] == feature, "causal"].sum())}
            for role, feature in (("causal", 0), ("null", 1))
        },
        "patched_features": len(found), "causal_features": int(found["causal"].sum()),
        "fingerprint": "49043fe0d4561612", "patched_runs": len(patched),
    }  # fmt: skip


def _of(found: pd.DataFrame, feature: int) -> list[tuple[int, int]]:
    """(layer, feature) of a planted role: one feature of every layer."""
    return [(int(layer), feature) for layer in found.loc[found["feature"] == feature, "layer"]]
