"""Every number that the page puts forward, counted again from the files by other code."""

import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from scipy.stats import beta

from pitboss.report.page import render
from pitboss.report.reader import Reader
from tests.report import study

SPAN = re.compile(r'data-number="([^"]+)" data-value="([^"]*)"')


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    store = study.make(tmp_path_factory.mktemp("numbers"))
    found: dict[str, str] = {}
    for key, value in SPAN.findall(render.page(Reader(store))):
        assert found.setdefault(key, value) == value, f"{key} is said twice, with two values"
    return store.path, found


def pairs(frame: pd.DataFrame) -> int:
    return len(set(zip(frame["layer"], frame["feature"], strict=True)))


def upper(hits: int, of: int) -> float:
    """Upper end of Clopper and Pearson's interval, a quantile of the beta distribution."""
    return float(beta.ppf(0.975, hits + 1, of - hits)) if hits < of else 1.0


def exact(hits: int, of: int) -> str:
    low = beta.ppf(0.025, hits, of - hits + 1) if hits else 0.0
    return f"{low:.6f} {upper(hits, of):.6f}"


def recount(path: Path) -> dict[str, Any]:
    """The numbers by their keys."""

    def rows(kind: str, query: str) -> pd.DataFrame:
        return pd.read_parquet(path / f"{kind}.parquet").query(query)

    stop = "contrast == 'safe_vs_risky' and outcome == 'stop' and phase == 'discovery'"
    tests = rows("effects", stop)
    features = tests.query("role == 'feature'")
    cut = features.loc[features["significant"], "p"].max()
    stands = tests["unreadable_arm"].isna() | (tests["p_worst"] <= cut)
    hits = tests[tests["significant"] & stands]
    causal, patched = pairs(hits.query("role == 'feature'")), pairs(features)
    found = pd.read_parquet(path / "findings.parquet")
    said: dict[str, Any] = {
        "tested": pairs(features.query("status == 'tested'")),
        "patched": patched,
        "causal": causal,
        "share": causal / patched,
        "share.interval": exact(causal, patched),
        "confirmation.asked": sum(value is not None for value in found["confirmed"]),
        "confirmation.found": sum(value is True for value in found["confirmed"]),
        "runs": len(pd.read_parquet(path / "trials.parquet")),
        "runs.none": len(rows("trials", "decision == 'none'")),
    }
    both, of_both = 0, 0
    for role in ("random_feature", "random_direction"):
        hit = pairs(hits[hits["role"] == role])
        of = pairs(tests[tests["role"] == role])
        both, of_both = both + hit, of_both + of
        said |= {
            f"false_positive.{role}.hits": hit,
            f"false_positive.{role}.tested": of,
            f"false_positive.{role}.rate": hit / of,
            f"false_positive.{role}.interval": exact(hit, of),
        }
    said["expected_false"] = min(both / of_both * patched, float(causal))
    said["expected_false_high"] = min(upper(both, of_both) * patched, causal)
    base = "role == 'baseline' and phase == 'discovery' and decision != 'none'"
    for prompt in ("exp2/safe", "exp2/risky"):
        runs = rows("trials", f"{base} and scene == '{prompt}'")
        said[f"baseline.{prompt}.n"] = len(runs)
        said[f"baseline.{prompt}.stops"] = int((runs["decision"] == "stop").sum())
    screened = pd.read_parquet(path / "ranking.parquet")
    said["screened"], said["screened.moved"] = len(screened), int((~screened["unchanged"]).sum())
    for role, feature in (("causal", 0), ("null", 1)):
        planted = found[found["feature"] == feature]
        said[f"planted.{role}.features"] = len(planted)
        said[f"planted.{role}.found"] = int(planted["causal"].sum())
    return said | games(path) | betting(path) | held(path) | readers(path) | excluded(path)


def games(path: Path) -> dict[str, Any]:
    said: dict[str, Any] = {}
    played = pd.read_parquet(path / "games.parquet").query("experiment == 'games'")
    for (model, bets), rows in played.groupby(["model", "bet_type"]):
        outcomes = list(rows["outcome"])
        said |= {
            f"games.{model}.{bets}.games": len(outcomes),
            f"games.{model}.{bets}.bankrupt": outcomes.count("bankruptcy"),
            f"games.{model}.{bets}.stopped": outcomes.count("voluntary_stop"),
            f"games.{model}.{bets}.aborted": outcomes.count("aborted"),
        }
    return said


def betting(path: Path) -> dict[str, Any]:
    """The measures bet by bet: a game's mean first, then the mean over games."""
    played = pd.read_parquet(path / "games.parquet").query("outcome != 'aborted'")
    made = pd.read_parquet(path / "decisions.parquet").sort_values(["game", "round"])
    means: dict[str, list[float]] = {}
    for game in played.itertuples():
        bets = made[(made["game"] == game.key) & made["bet"].notna()]
        share = [min(b / c, 1) for b, c in zip(bets["bet"], bets["balance"], strict=True)]
        lost = [i for i, won in enumerate(bets["won"]) if not won and i + 1 < len(share)]
        chased = [max(0, (share[i + 1] - share[i]) / share[i]) for i in lost]
        for name, values in (
            ("betting", share),
            ("extreme", [r >= 0.5 for r in share]),
            ("loss_chasing", chased),
        ):
            if values:
                key = f"betting.{game.model}.{game.bet_type}.{name}"
                means.setdefault(key, []).append(sum(values) / len(values))
    return {key: sum(values) / len(values) for key, values in means.items()}


def held(path: Path) -> dict[str, Any]:
    """Exp5's significant comparisons, corrected again by hand."""
    values = pd.read_parquet(path / "persistent_contrasts.parquet")
    arms = pd.read_parquet(path / "persistent_effects.parquet")
    said: dict[str, Any] = {}
    for measure in sorted(set(values["measure"])):
        tables = {"safe_vs_risky": values[values["measure"] == measure]}
        both = arms.assign(p=arms[f"p_{measure}"]).query("role != 'baseline'")
        for arm in ("safe", "risky"):
            tables[f"{arm}_vs_baseline"] = both[both["arm"] == arm]
        for contrast, rows in tables.items():
            family = tables["safe_vs_risky"] if contrast == "safe_vs_risky" else both
            mine, others = rows.query("role == 'feature'"), rows.query("role != 'feature'")
            limit = largest_p(family.query("role == 'feature'")["p"].dropna())
            reached = mine.loc[mine["p"] <= limit, "p"].max()
            for role, part, cut in (
                ("feature", mine, limit),
                ("random_direction", others, reached),
            ):
                key = f"held.{contrast}.{role}.{measure}"
                said[f"{key}.hits"] = int((part["p"] <= cut).sum())
                said[f"{key}.tested"] = int(part["p"].notna().sum())
    return said


def largest_p(p: pd.Series, fdr: float = 0.05) -> float:
    """Benjamini and Hochberg's cut-off: the largest p(k) that is at most k / m * fdr."""
    kept = [x for k, x in enumerate(sorted(p), start=1) if x <= k / len(p) * fdr]
    return max(kept, default=-1.0)


def readers(path: Path) -> dict[str, Any]:
    said: dict[str, Any] = {}
    for step in json.loads((path / "ladder.json").read_text()):
        said[f"ladder.{step['step']}"] = step["count"]
    for cell in json.loads((path / "readers.json").read_text()):
        key = f"readers.{cell['prompt']}"
        for name in (key, f"{key}.same", f"{key}.stops"):
            said.setdefault(name, 0)
        said[key] += cell["responses"]
        said[f"{key}.same"] += cell["responses"] * (cell["old"] == cell["read"])
        wrong = cell["old"] == "stop" and cell["read"] != "stop"
        said[f"{key}.stops"] += cell["responses"] * wrong
    return said


def excluded(path: Path) -> dict[str, Any]:
    def reasons(kind: str, query: str) -> dict[str, Any]:
        counts = pd.read_parquet(path / f"{kind}.parquet").query(query)["reason"].value_counts()
        return {f"excluded.{kind}.{reason}": number for reason, number in counts.items()}

    untested = "status != 'tested' and contrast == 'safe_vs_risky' and outcome == 'stop'"
    return {
        **reasons("effects", f"{untested} and role == 'feature'"),
        **reasons("trials", "decision == 'none'"),
        **reasons("games", "outcome == 'aborted'"),
        **reasons("persistent", "outcome == 'aborted'"),
        **reasons("statistics", "status == 'not_tested'"),
    }


def same(shown: str, value: Any) -> bool:
    if value is None:
        return shown == "None"
    if isinstance(value, str):
        ends = [[float(x) for x in text.split()] for text in (shown, value)]
        return ends[0] == pytest.approx(ends[1], abs=2e-6)
    return float(shown) == pytest.approx(float(value), abs=1e-6)


def test_every_number_is_what_the_files_say(made: tuple[Path, dict[str, str]]) -> None:
    path, shown = made
    expected = recount(path)
    assert set(shown) == set(expected)
    wrong = {
        key: (shown[key], expected[key]) for key in shown if not same(shown[key], expected[key])
    }
    assert not wrong
    assert float(shown["causal"]) == 4 and float(shown["confirmation.found"]) == 3
