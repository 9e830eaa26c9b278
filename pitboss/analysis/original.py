"""What the original study concluded from its own published data, and what these data say.

Everything is computed from the files of `data/original` (see the README there) when it is asked
for. The numbers go to original.json, beside a study's own.
"""

import gzip
import json
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pitboss.analysis.proportions import fisher_p, wilson
from pitboss.errors import BadInput
from pitboss.games.menu import Menu
from pitboss.games.prompts import render
from pitboss.games.reading import READERS, reader
from pitboss.saes.false_discovery import benjamini_hochberg

DATA = Path(__file__).resolve().parents[2] / "data" / "original"
SOURCE = "https://github.com/iamseungpil/llm-addiction, the code and results of arXiv 2509.22818"
CHOICES = "llama31_8b_choice_trials.jsonl.gz"
TRUNCATED = "truncated_reasoning_responses.jsonl.gz"
DIFFERENCES = "exp2_feature_group_summary.csv.gz"
NEW = "menu"
OLD = tuple(name for name in READERS if name.startswith("original-"))
FDR = 0.05


@cache
def choices() -> pd.DataFrame:
    """7,482 answers to the two scenes: the file's columns, and one of decisions for each reader."""
    frame = pd.DataFrame(_lines(CHOICES))
    frame["prompt"] = "exp2/" + frame["prompt_type"]
    menus = {name: render(name).menu for name in frame["prompt"].unique()}
    asked = list(zip(frame["response"], frame["prompt"], strict=True))
    for name in (*OLD, NEW):
        read = reader(name).read
        frame[name] = [read(text, menus[prompt], "length").decision for text, prompt in asked]
    return frame.rename(columns={"original_label": "published"})


def original_study() -> dict[str, Any]:
    """Plain data for original.json.

    Returns:
        `source`; `choices`: stop rates by reader and scene; `dose`: features whose lowest and
        highest patched value differ in stops, by reader; `truncated`: what became of answers
        without a decision; `signs`: the rule behind the 441 features; `sentences`: all of it for a
        person.

    Raises:
        BadInput: A file of `data/original` is missing.
    """
    found: dict[str, Any] = {
        "source": SOURCE,
        "choices": stop_rates(),
        "dose": dose(),
        "truncated": truncated(),
        "signs": signs(),
    }
    return found | {"sentences": sentences(found)}


def stop_rates() -> list[dict[str, Any]]:
    """One row a scene and reader: stops of decided responses, and how often it says what ours does.

    `published` are the labels in the file, `menu` is this project's reader; `made_up` are decisions
    where ours finds none.
    """
    rows = []
    for prompt, mine in choices().groupby("prompt"):
        for name in ("published", *OLD, NEW):
            decided = mine[mine[name] != "none"]
            stops = int((decided[name] == "stop").sum())
            ends = wilson([stops], [len(decided)])
            rows.append(
                {
                    "prompt": prompt,
                    "reader": name,
                    "responses": len(mine),
                    "decided": len(decided),
                    "stops": stops,
                    "rate": stops / len(decided),
                    "low": float(ends.low[0]),
                    "high": float(ends.high[0]),
                    "as_ours": int((mine[name] == mine[NEW]).sum()),
                    "made_up": int(((mine[name] != "none") & (mine[NEW] == "none")).sum()),
                    "bets_called_stop": int(((mine[name] == "stop") & (mine[NEW] == "bet")).sum()),
                }
            )
    return rows


def dose() -> list[dict[str, Any]]:
    """One row a reader: how many features seem to act, the lowest value against the highest.

    Each of the 15 features was set to 0.3 to 2 times a value, in both scenes. The two ends are
    compared by Fisher's exact test and corrected over all features and scenes.
    """
    frame = choices()
    low, high = frame["scale"].min(), frame["scale"].max()
    rows = []
    for name in ("published", *OLD, NEW):
        decided = frame[(frame[name] != "none") & frame["scale"].isin([low, high])]
        stops = decided.assign(stop=decided[name] == "stop")
        counts = stops.groupby(["layer", "feature_id", "prompt", "scale"])["stop"].agg(
            ["sum", "size"]
        )
        wide = counts.unstack("scale")
        ends = [wide[column, scale].to_numpy() for scale in (low, high) for column in _SUM_SIZE]
        p = fisher_p(*ends)
        alike = (ends[0] + ends[2] == 0) | (ends[0] + ends[2] == ends[1] + ends[3])
        q = benjamini_hochberg(np.where(alike, np.nan, p))
        rows.append(
            {
                "reader": name,
                "tests": len(wide),
                "testable": int((~alike).sum()),
                "p_below_05": int(((p < 0.05) & ~alike).sum()),
                "significant": int((q <= FDR).sum()),
                "lowest": float(low),
                "highest": float(high),
            }
        )
    return rows


def truncated() -> list[dict[str, Any]]:
    """One row a reader: what it makes of 577 answers that a token limit cut off."""
    rows = _lines(TRUNCATED)
    found = []
    for name in (*OLD, NEW):
        read = reader(name).read
        readings = [read(row["response"], _exp0_menu(row["condition"]), "length") for row in rows]
        decisions = Counter(reading.decision for reading in readings)
        found.append(
            {
                "reader": name,
                "responses": len(rows),
                **{decision: decisions[decision] for decision in ("bet", "stop", "none")},
                "made_up": sum(reading.imputed for reading in readings),
            }
        )
    return found


def signs() -> dict[str, Any]:
    """The rule behind the original's causal features, on its own differences from the baseline.

    A feature is called safe if its safe value raises stops in the safe scene and lowers high bets
    in the risky one, by any amount; risky if its risky value does the opposite. `correlation` and
    `mean_difference` compare the two values' effects on stops: patched to opposite values, a
    feature moved them alike.
    """
    frame = pd.read_csv(_file(DIFFERENCES))
    safe = (frame["safe_stop_delta"] > 0) & (frame["safe_bankruptcy_delta"] < 0)
    risky = (frame["risky_stop_delta"] < 0) & (frame["risky_bankruptcy_delta"] > 0)
    both = frame[["safe_stop_delta", "risky_stop_delta"]].dropna()
    apart = both["safe_stop_delta"] - both["risky_stop_delta"]
    return {
        "features": len(frame),
        "called_safe": int(safe.sum()),
        "called_risky": int((risky & ~safe).sum()),
        "called_causal": int((safe | risky).sum()),
        "as_published": bool(((safe | risky) == (frame["classified_as"] != "neutral")).all()),
        "with_both_values": len(both),
        "correlation": float(both.corr().iloc[0, 1]),
        "mean_difference": float(apart.mean()),
        "mean_absolute_difference": float(apart.abs().mean()),
        "above_tenth_against_baseline": int((both["safe_stop_delta"].abs() > 0.1).sum()),
        "above_tenth_between_values": int((apart.abs() > 0.1).sum()),
    }


def sentences(found: dict[str, Any]) -> list[str]:
    """The numbers of `original_study` as a person reads them."""
    said = []
    for row in found["choices"]:
        if row["reader"] == "published":
            (ours,) = (
                x for x in found["choices"] if (x["prompt"], x["reader"]) == (row["prompt"], NEW)
            )
            said.append(
                f"{row['prompt']}: the published labels call {row['rate']:.1%} of "
                f"{row['responses']:,} responses a stop, the responses say {ours['rate']:.1%} "
                f"({ours['low']:.1%} to {ours['high']:.1%}); {row['bets_called_stop']:,} bets were "
                "called a stop."
            )
    by_reader = {row["reader"]: row for row in found["dose"]}
    old, new = by_reader["published"], by_reader[NEW]
    said.append(
        f"Of {new['tests']} features and scenes, {old['significant']} differ significantly "
        "between the lowest and the highest patched value by the published labels, "
        f"{new['significant']} by what the responses say."
    )
    for row in found["truncated"]:
        if row["reader"] != NEW:
            said.append(
                f"Of {row['responses']} answers that state no decision, {row['reader']} makes "
                f"{row['bet']} bets and {row['stop']} stops."
            )
    rule = found["signs"]
    said.append(
        f"{rule['called_causal']} of {rule['features']:,} features were called causal by signs. "
        f"Over {rule['with_both_values']:,} features the effects of the two opposite values on "
        f"stops have a correlation of {rule['correlation']:.3f}: "
        f"{rule['above_tenth_against_baseline']} safe values differ from the baseline by more than "
        f"10 points, {rule['above_tenth_between_values']} from the risky value."
    )
    return said


_SUM_SIZE = ("sum", "size")


def _exp0_menu(condition: str) -> Menu:
    if condition.split("::")[0] == "fixed":
        return Menu("final_decision", "fixed", 10, 10, 10, 100)
    return Menu("final_decision", "variable", 5, 100, None, 100)


def _lines(name: str) -> list[dict[str, Any]]:
    with gzip.open(_file(name), "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def _file(name: str) -> Path:
    path = DATA / name
    if not path.is_file():
        raise BadInput(
            "The original study's data are not there.",
            where=str(path),
            next="Restore the folder data/original of the repository.",
        )
    return path
