"""What was found, beside the controls that say what it is worth."""

from typing import Any

from markupsafe import Markup

from pitboss.analysis.effects import PRIMARY
from pitboss.analysis.proportions import clopper_pearson
from pitboss.report.page.book import Book, Section
from pitboss.report.page.data import FEATURE
from pitboss.report.page.numbers import Ledger, interval, percent
from pitboss.report.tables import primary

STOP = f"contrast == '{PRIMARY}' and outcome == 'stop' and phase == 'discovery'"
COUNTS = "significant and (unreadable_arm.isna() or p_worst <= the features' largest p)"
COLUMNS = ["role", "phase", *FEATURE, "prompt", "contrast", "outcome", "status", "significant"]


def build(book: Book) -> Section | None:
    effects = book.frame("effects", COLUMNS)
    findings = book.frame("findings")
    if effects is None or findings is None:
        return Section("headline", {"tested": None})
    put = book.ledger.put
    rows = primary(effects)
    rows = rows[(rows["role"] == "feature") & (rows["status"] == "tested")]
    tested, causal = len(rows[FEATURE].drop_duplicates()), int(findings["causal"].sum())
    controls: dict[str, Any] = book.document("controls") or {}
    context = {
        "none": causal == 0,
        "tested": put("tested", tested, "effects.parquet",
                      f"role == 'feature' and {STOP} and status == 'tested'",
                      "different (layer, feature)"),
        "patched": put("patched", len(findings), "findings.parquet"),
        "causal": put("causal", causal, "findings.parquet", "causal"),
        "bars": [_found(book.ledger, causal, len(findings)), *_controls(book.ledger, controls)],
        "expected": _expected(book.ledger, controls),
        "confirmed": _confirmed(book.ledger, findings),
        "planted": _planted(book),
        "runs": _runs(book),
        "problems": book.summary.get("problems", []),
    }  # fmt: skip
    return Section("headline", context)


def _bar(role: str, hits: Markup, tested: Markup, rate: float, low: float, high: float,
         shares: tuple[Markup, Markup]) -> dict[str, Any]:  # fmt: skip
    return {"role": role, "hits": hits, "tested": tested, "rate": rate, "low": low, "high": high,
            "share": shares[0], "between": shares[1]}  # fmt: skip


def _found(ledger: Ledger, causal: int, patched: int) -> dict[str, Any]:
    """The features' own share of those patched, with the interval that the controls have."""
    low, high = (float(end[0]) for end in clopper_pearson([causal], [patched]))
    rate = causal / patched
    how = "causal / patched, exact 95 % interval"
    share = ledger.put("share", rate, "findings.parquet", "causal", how, percent(rate))
    between = ledger.put("share.interval", f"{low:.6f} {high:.6f}", "findings.parquet", "causal",
                         how, interval(low, high))  # fmt: skip
    hits, of = (Markup("{}").format(ledger.numbers[key].shown) for key in ("causal", "patched"))
    return _bar("feature", hits, of, rate, low, high, (share, between))


def _controls(ledger: Ledger, controls: dict[str, Any]) -> list[dict[str, Any]]:
    made = []
    for role, found in sorted(controls.get("false_positive", {}).items()):
        where = f"false_positive.{role}"
        rows = f"role == '{role}' and {STOP}"
        hits = ledger.put(
            f"{where}.hits",
            found["hits"],
            "effects.parquet",
            f"{rows} and {COUNTS}",
            "different (layer, feature)",
        )
        tested = ledger.put(
            f"{where}.tested",
            found["tested"],
            "effects.parquet",
            rows,
            "different (layer, feature)",
        )
        rate, low, high = (found[name] for name in ("rate", "low", "high"))
        if rate is None:
            continue
        shares = (
            ledger.put(f"{where}.rate", rate, "controls.json", f"{where}.rate", "hits / tested",
                       percent(rate)),
            ledger.put(f"{where}.interval", f"{low:.6f} {high:.6f}", "controls.json", where,
                       "exact 95 % interval", interval(low, high)),
        )  # fmt: skip
        made.append(_bar(role, hits, tested, rate, low, high, shares))
    return made


def _expected(ledger: Ledger, controls: dict[str, Any]) -> dict[str, Markup] | None:
    """Features that would count if all were like the controls, and the most of them."""
    value, high = (controls.get(name) for name in ("expected_false", "expected_false_high"))
    if value is None:
        return None
    how = "the controls' rate × patched features, at most those found"
    return {
        "count": ledger.put("expected_false", value, "controls.json", "expected_false", how,
                            f"{value:.1f}"),
        "high": ledger.put("expected_false_high", high, "controls.json", "expected_false_high",
                           "upper end of the rate's interval × patched features", f"{high:.1f}"),
    }  # fmt: skip


def _confirmed(ledger: Ledger, findings: Any) -> dict[str, Markup] | None:
    asked = findings["confirmed"].notna()
    if not asked.any():
        return None
    again = int((findings.loc[asked, "confirmed"] == True).sum())  # noqa: E712, nullable
    return {
        "asked": ledger.put("confirmation.asked", int(asked.sum()), "findings.parquet",
                            "confirmed.notna()"),
        "again": ledger.put("confirmation.found", again, "findings.parquet", "confirmed == True"),
    }  # fmt: skip


def _planted(book: Book) -> list[dict[str, Any]]:
    """Features with a known answer, where the study has some."""
    return [
        {
            "role": role,
            "found": book.ledger.put(f"planted.{role}.found", found["found_causal"],
                                     "summary.json", f"planted.{role}.found_causal", ""),
            "features": book.ledger.put(f"planted.{role}.features", found["features"],
                                        "summary.json", f"planted.{role}.features", ""),
        }
        for role, found in book.summary.get("planted", {}).items()
    ]  # fmt: skip


def _runs(book: Book) -> dict[str, Markup] | None:
    decisions = book.frame("trials", ["decision"])
    if decisions is None:
        return None
    none = int((decisions["decision"] == "none").sum())
    put = book.ledger.put
    return {
        "all": put("runs", len(decisions), "trials.parquet"),
        "none": put("runs.none", none, "trials.parquet", "decision == 'none'"),
    }
