"""The page is the same each time, safe with hostile texts, and complete in both languages."""

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from pitboss.report.page import render
from pitboss.report.page.data import script_json
from pitboss.report.page.strings import HERE, said, texts
from pitboss.report.reader import Reader
from pitboss.store import Store
from tests.report import study
from tests.store.samples import store as empty_store

BLOCK = re.compile(r'<script type="application/json" id="data-(\w+)">(.*?)</script>', re.S)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return study.make(tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="module")
def page(store: Store) -> str:
    return render.page(Reader(store))


def blocks(page: str) -> dict[str, Any]:
    return {name: json.loads(text) for name, text in BLOCK.findall(page)}


def test_the_same_files_give_the_same_bytes(store: Store, page: str) -> None:
    assert render.page(Reader(Store.open(store.path))) == page
    assert render.write(store).read_text() == page
    assert [problem for problem in store.verify() if not problem.harmless] == []


def test_a_study_under_way_is_read_from_its_parts(tmp_path: Path) -> None:
    other = study.make(tmp_path, layers=1, per_layer=2, controls=1, screened=10)
    whole = render.page(Reader(other))
    for file in other.path.glob("*.parquet"):
        file.unlink()
    assert render.page(Reader(other)) == whole


def test_texts_of_models_stay_texts(page: str) -> None:
    assert study.HOSTILE not in page and "<script>window.broken" not in page
    answers = [run["text"] for card in blocks(page)["details"].values()
               for example in card["examples"] for run in example["runs"]]  # fmt: skip
    assert any(study.HOSTILE in "".join(parts) for parts in answers)
    assert json.loads(script_json("</script>\u2028<!--&")) == "</script>\u2028<!--&"
    assert not set("<>&\u2028") & set(script_json("</script>\u2028<!--&"))
    shown = said("headline.of", hits="<b>", tested=1)
    assert "<b>" not in shown and "&lt;b&gt;" in shown


def test_only_the_pages_own_scripts_may_run_and_nothing_is_loaded(page: str) -> None:
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page)
    assert policy and policy[1].startswith("default-src &#39;none&#39;;")
    running = re.findall(r"<script>(.*?)</script>", page, re.S)
    libraries = re.findall(r'<script type="text/plain" class="library">(.*?)</script>', page, re.S)
    assert len(running) == 1 and len(libraries) == 2
    for text in (*running, *libraries):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"sha256-{digest}" in policy[1]
    vendor = (HERE / "assets/vendor/README.md").read_text()
    for file in sorted((HERE / "assets/vendor").glob("*.js")):
        assert hashlib.sha256(file.read_bytes()).hexdigest() in vendor
    assert not re.findall(r'(?:src|href)="(?!#)', page)


def test_both_languages_say_everything(page: str) -> None:
    english, korean = texts("en"), texts("ko")
    assert set(english) == set(korean)
    for key in english:
        braces = [sorted(re.findall(r"\{(\w+)\}", language[key])) for language in (english, korean)]
        assert braces[0] == braces[1], key
        assert english[key].strip() and korean[key].strip()
    scripts = "".join(file.read_text() for file in sorted((HERE / "assets").glob("*.js")))
    asked = set(re.findall(r'\bt\("([\w.]+)"[,)]', scripts))
    for file in sorted((HERE / "templates").glob("*.html")):
        asked |= set(re.findall(r"\bt\('([\w.]+)'[,)]", file.read_text()))
    assert len(asked) > 100 and asked <= set(english)
    used = scripts + "".join(p.read_text() for p in sorted((HERE / "templates").glob("*.html")))
    sources = "".join(file.read_text() for file in sorted(HERE.rglob("*.py")))
    for key in english:
        group = key.rpartition(".")[0] + "."
        known = f"'{key}'" in used or f'"{key}"' in used or f'"{group}" +' in used
        own = key.endswith(".title") or f"'{group}' ~" in used or key.startswith("plot.")
        own = own or f'"{key}"' in sources or f"named('{group[:-1]}'" in used
        assert known or own, f"nobody says {key}"
    shown = re.sub(r"<(script|style).*?</\1>", "", page, flags=re.S)
    assert shown.count('<span lang="en">') == shown.count('<span lang="ko">') > 100
    assert 'class="raw"' not in shown  # what the study's files say is known in Korean


def test_tables_of_the_browser_are_the_studys_rows(store: Store, page: str) -> None:
    found = blocks(page)
    findings = pd.read_parquet(store.path / "findings.parquet").set_index(["layer", "feature"])
    columns = found["features"]
    assert len(columns["layer"]) == len(findings) == 48
    for i, name in enumerate(zip(columns["layer"], columns["feature"], strict=True)):
        row = findings.loc[name]
        assert columns["causal"][i] == row["causal"]
        assert columns["q"][i] == pytest.approx(row["q"], rel=1e-3)
    assert columns["causal"] == sorted(columns["causal"], reverse=True)
    dots = sum(dot["n"] for dot in found["volcano"]["dots"] if dot["r"] == "feature")
    effects = pd.read_parquet(store.path / "effects.parquet")
    assert dots == len(effects.query(
        "role == 'feature' and contrast == 'safe_vs_risky' and outcome == 'stop' "
        "and status == 'tested'"))  # fmt: skip
    arms = found["arms"]
    feature_rows = effects[effects["role"] == "feature"]
    assert len(arms["at"]) == len(feature_rows)
    assert sum(n or 0 for n in arms["n_a"]) == feature_rows["n_a"].sum()


def test_differences_of_whole_games_are_the_studys_rows(store: Store, page: str) -> None:
    drawn = pd.DataFrame(blocks(page)["held"])
    arms = pd.read_parquet(store.path / "persistent_effects.parquet")
    values = pd.read_parquet(store.path / "persistent_contrasts.parquet")
    for row in drawn.itertuples():
        layer, feature = map(int, row.f[1:].split("/F"))
        of = f"role == '{row.role}' and layer == {layer} and feature == {feature}"
        if row.contrast == "safe_vs_risky":
            [there] = values.query(f"{of} and measure == '{row.measure}'")["difference"]
        else:
            arm = row.contrast.removesuffix("_vs_baseline")
            [there] = arms.query(f"{of} and arm == '{arm}'")[f"difference_{row.measure}"]
        assert row.difference == pytest.approx(there, rel=1e-3)
    patched = arms.query("role != 'baseline'").filter(regex="^difference_")
    assert len(drawn) == values["difference"].count() + patched.count().sum()
    games = {(d["f"], d["role"], d["arm"]): d["v"] for d in blocks(page)["persistent"]}
    assert len(games) == len(arms)
    assert games["L1/F0", "feature", "risky"] > 0.4 > games["L1/F0", "feature", "safe"]


def test_answers_side_by_side_share_their_noise_and_mark_what_decided(
    store: Store, page: str
) -> None:
    trials = pd.read_parquet(store.path / "trials.parquet")
    examples = blocks(page)["details"]["L2/F0"]["examples"]
    assert [run["arm"] for run in examples[0]["runs"]] == ["baseline", "safe", "risky"]
    for example in examples:
        for run in example["runs"]:
            rows = trials[(trials["noise"] == example["noise"]) & (trials["arm"] == run["arm"])]
            if run["arm"] != "baseline":
                rows = rows[(rows["layer"] == 2) & (rows["feature"] == 0)]
                rows = rows[rows["role"] == "feature"]
            [row] = rows.to_dict("records")
            assert "".join(run["text"]) == row["response"] and run["decision"] == row["decision"]
            assert run["text"][1] == row["response"][row["read_start"] : row["read_end"]]


def test_a_study_without_effects_says_so_and_one_without_patching_too(tmp_path: Path) -> None:
    small = {"layers": 2, "per_layer": 3, "controls": 3, "screened": 20}
    none = render.page(Reader(study.make(tmp_path / "none", null=True, **small)))
    assert "No effect was found" in none and "효과가 발견되지 않았습니다" in none
    begun = render.page(Reader(empty_store(tmp_path / "begun")))
    assert "Patching has not been run to its end" in begun
    assert "<figure" not in begun and "Not part of this study" in begun


def test_what_is_missing_or_cut_is_said(tmp_path: Path) -> None:
    small = {"layers": 1, "per_layer": 1, "controls": 1, "screened": 10}
    other = study.make(tmp_path, **small, longer="x" * 2000)
    summary = other.read_json("summary.json")
    other.write_json("summary.json", {**summary, "problems": ["patching/trials: <1> missing"]})
    page = render.page(Reader(other))
    head = page[: page.index('<section id="ran">')]
    assert '<span class="raw" lang="en">patching/trials: &lt;1&gt; missing</span>' in head
    run = blocks(page)["details"]["L0/F0"]["examples"][0]["runs"][0]
    assert len("".join(run["text"])) + run["more"] > 2000 and run["more"] > 500


def test_costs_say_how_many_responses_are_cut_off_or_repeated(store: Store, page: str) -> None:
    section = page[page.index('<section id="ran">') : page.index('<section id="effects">')]
    trials = pd.read_parquet(store.path / "trials.parquet")
    new, repeats = (sum(arm[name] for arm in study.TEXTS.values()) for name in ("new", "repeats"))
    cells = re.findall(r'<td class="right">([^<]*)</td>', section)
    assert f"{100 * 3 / len(trials):.1f}%" in cells and f"{100 * new / repeats:.1f}%" in cells
    assert section.count("<li>") == 1 and "90 (10%) are new texts" in section


def test_texts_stand_out_from_their_paper_in_light_and_dark() -> None:
    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    def contrast(one: str, two: str) -> float:
        high, low = sorted((luminance(one), luminance(two)), reverse=True)
        return (high + 0.05) / (low + 0.05)

    css = (HERE / "assets/page.css").read_text()
    schemes = [dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", part)) for part in css.split("* {")[0]
               .split("@media")]  # fmt: skip
    assert len(schemes) == 2
    for colours in schemes:
        for name in ("ink", "quiet", "accent", "warn", "risky", "safe", "third"):
            assert contrast(colours[name], colours["paper"]) >= 4.5, name  # WCAG AA, for text
        assert contrast(colours["warn"], colours["warnback"]) >= 4.5
        assert contrast(colours["ink"], colours["mark"]) >= 4.5
        assert contrast(colours["grey"], colours["paper"]) >= 3  # WCAG AA, for marks
