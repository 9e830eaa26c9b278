"""What a feature's card shows: every arm, and for the strongest features texts and examples."""

from typing import Any

import numpy as np
import pandas as pd

from pitboss.report.page.book import Book
from pitboss.report.page.data import FEATURE, column, plain
from pitboss.report.reader import where

EFFECTS = [
    *FEATURE, "role", "phase", "prompt", "contrast", "outcome", "n_a", "events_a", "none_a", "n_b",
    "events_b", "none_b", "value_a", "value_b", "difference", "ci_low", "ci_high", "p", "q",
    "significant",
]  # fmt: skip
RUNS = [
    "role", "phase", "arm", *FEATURE, "prompt", "scene", "trial", "noise", "response", "decision",
    "read_start", "read_end", "value",
]  # fmt: skip
LONGEST = 1500
"""Characters of a response that a card shows; it says how many more there are."""
BEFORE, AFTER = 240, 120
"""Characters around an active token; the whole text is where `source` says."""
Scene = dict[tuple[str, str], dict[str, Any]]
"""(prompt, noise) -> arm -> run."""
TOKENS, CONTEXTS, WORDS, EXAMPLES = 12, 6, 8, 2


def arms(book: Book, ordered: pd.DataFrame, detailed: pd.DataFrame) -> dict[str, Any]:
    """The features' contrasts, column by column: of stopping for all, of all outcomes for some."""
    effects = book.frame("effects", EFFECTS)
    if effects is None:
        return {}
    rows = effects[effects["role"] == "feature"]
    place = {pair: n for n, pair in enumerate(_names(ordered))}
    at = np.array([place.get(pair, -1) for pair in _names(rows)])
    keep = (at >= 0) & ((rows["outcome"] == "stop").to_numpy() | (at < len(detailed)))
    rows = rows[keep].assign(at=at[keep])
    # Discovery before confirmation, safe against risky before the others: Z to A, as it happens.
    by = ["at", "prompt", "phase", "outcome", "contrast"]
    rows = rows.sort_values(by, ascending=[True, True, False, True, False], kind="stable")
    made: dict[str, Any] = {"at": column(rows["at"])}
    for name in ("prompt", "phase", "outcome", "contrast"):
        names = sorted(set(rows[name]))
        made[f"{name}s"] = names
        made[name] = rows[name].map({n: i for i, n in enumerate(names)}).tolist()
    for name in ("n_a", "events_a", "none_a", "n_b", "events_b", "none_b"):
        made[name] = column(rows[name])
    for name in ("value_a", "value_b", "difference", "ci_low", "ci_high"):
        if name.startswith("value"):  # of shares, the browser divides
            rows = rows.assign(**{name: rows[name].where(rows["outcome"] == "stake")})
        made[name] = column(rows[name], 3)
    made["p"], made["q"] = column(rows["p"], 3), column(rows["q"], 3)
    made["significant"] = [int(hit) for hit in rows["significant"]]
    return made


def details(book: Book, detailed: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """`L3/F12` -> what its card shows besides the arms; keys that have nothing are left out."""
    made: dict[str, dict[str, Any]] = {f"L{x}/F{f}": {} for x, f in _names(detailed)}
    wanted = set(_names(detailed))
    for name, rows in (
        ("tokens", _tokens(book)),
        ("contexts", _contexts(book)),
        ("screening", _screening(book)),
        ("values", _values(book)),
        ("description", _descriptions(book)),
        ("examples", _examples(book, wanted)),
        ("words", _words(book)),
    ):
        for key, value in rows.items():
            if key in made:
                made[key][name] = value
    return made


def _names(frame: pd.DataFrame) -> list[tuple[int, int]]:
    return list(zip(frame["layer"].astype(int), frame["feature"].astype(int), strict=True))


def _grouped(frame: pd.DataFrame | None, by: list[str], top: int) -> dict[str, pd.DataFrame]:
    """The first rows of each feature."""
    if frame is None:
        return {}
    first = frame.sort_values([*FEATURE, *by], kind="stable").groupby(FEATURE).head(top)
    return {f"L{x}/F{f}": rows for (x, f), rows in first.groupby(FEATURE)}


def _tokens(book: Book) -> dict[str, Any]:
    groups = _grouped(book.frame("tokens"), ["matrix", "rank"], TOKENS)
    return {key: [[r.token, plain(r.score, 3)] for r in rows.itertuples()]
            for key, rows in groups.items()}  # fmt: skip


def _contexts(book: Book) -> dict[str, Any]:
    groups = _grouped(book.frame("contexts"), ["rank"], CONTEXTS)
    return {key: [[plain(r.activation, 3), _tail(r.before), r.token, _head(r.after), r.source]
                  for r in rows.itertuples()] for key, rows in groups.items()}  # fmt: skip


def _tail(text: str) -> str:
    return text if len(text) <= BEFORE else "…" + text[-BEFORE:]


def _head(text: str) -> str:
    return text if len(text) <= AFTER else text[:AFTER] + "…"


def _screening(book: Book) -> dict[str, Any]:
    frame = book.frame(
        "screening", [*FEATURE, "prompt", "value_name", "value", "own", "p_stop", "shift"]
    )
    groups = _grouped(frame, ["prompt", "value_name"], 12)
    return {key: [[r.prompt, r.value_name, plain(r.value, 3), plain(r.own, 3), plain(r.p_stop, 3),
                   plain(r.shift, 3)] for r in rows.itertuples()]
            for key, rows in groups.items()}  # fmt: skip


def _values(book: Book) -> dict[str, Any]:
    """Both values of the selection, and how it came to be selected."""
    found = book.frame("features")
    if found is None:
        return {}
    return {
        f"L{r.layer}/F{r.feature}": {
            "safe": plain(r.safe), "risky": plain(r.risky), "d": plain(r.d, 3), "q": plain(r.q, 3),
            "rank": plain(r.rank), "by": r.chosen_by,
            "adjusted": plain(getattr(r, "d_adjusted", None), 3),
        }
        for r in found.itertuples()
    }  # fmt: skip


def _descriptions(book: Book) -> dict[str, Any]:
    groups = _grouped(book.frame("descriptions"), [], 1)
    return {key: [rows.iloc[0]["text"], rows.iloc[0]["by"]] for key, rows in groups.items()}


def _words(book: Book) -> dict[str, Any]:
    frame = book.frame("words")
    if frame is None:
        return {}
    own = frame[frame["scope"] != "all"]
    own = own.assign(size=-own["z"].abs()).sort_values(["scope", "size", "prompt", "word"])
    return {
        str(scope): [
            [r.prompt, r.word, plain(r.z, 3), plain(r.q_responses, 3), int(r.responses_safe),
             int(r.responses_risky)]
            for r in rows.head(WORDS).itertuples()
        ]
        for scope, rows in own.groupby("scope")
    }  # fmt: skip


def _examples(book: Book, wanted: set[tuple[int, int]]) -> dict[str, Any]:
    """Runs with the same noise beside each other: without a patch, safe value, risky value."""
    layers, ids = ({pair[n] for pair in wanted} for n in (0, 1))
    chosen = where(role="feature", layer=layers, feature=ids)
    runs = book.reader.frame("trials", RUNS, chosen) if wanted else None
    base = book.reader.frame("trials", RUNS, where(role="baseline"))
    if runs is None or base is None:
        return {}
    runs = runs[runs["phase"] == "discovery"].sort_values([*FEATURE, "scene", "prompt", "trial"])
    beside = {(run.prompt, run.noise): run for run in base.itertuples()}
    scenes: dict[tuple[int, int], dict[str, Scene]] = {}
    for run in runs.itertuples():
        if (pair := (int(run.layer), int(run.feature))) in wanted:
            scene = scenes.setdefault(pair, {}).setdefault(run.scene, {})
            scene.setdefault((run.prompt, run.noise), {})[run.arm] = run
    return {
        f"L{x}/F{f}": [example for scene in found.values() for example in _chosen(scene, beside)]
        for (x, f), found in scenes.items()
    }


def _chosen(scene: Scene, base: dict[Any, Any]) -> list[dict[str, Any]]:
    """The first runs of a scene whose decisions differ between the values, else its first."""
    ranked = sorted(
        scene.items(), key=lambda item: len({run.decision for run in item[1].values()}) < 2
    )
    made = []
    for at, patched in ranked[:EXAMPLES]:
        sides = {"baseline": base.get(at), **dict(sorted(patched.items(), reverse=True))}
        made.append({"prompt": at[0], "noise": at[1],
                     "runs": [_run(arm, run) for arm, run in sides.items() if run]})  # fmt: skip
    return made


def _run(arm: str, run: Any) -> dict[str, Any]:
    """A response cut at the text that decided."""
    text, start, end = run.response, int(run.read_start), int(run.read_end)
    left = max(0, len(text) - LONGEST)
    shown = text[: max(LONGEST, end)] if left else text
    return {"arm": arm, "decision": run.decision, "value": plain(run.value, 3),
            "text": [shown[:start], shown[start:end], shown[end:]],
            "more": len(text) - len(shown)}  # fmt: skip
