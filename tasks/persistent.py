"""Whole games under a patch that stays, Exp5: one task is one chunk of features of one layer."""

from typing import Any

import pandas as pd
from prefect import task

from pitboss.experiments.clamped_games import effects as held
from pitboss.experiments.clamped_games import experiment as persistent
from pitboss.experiments.runtime.unit import Unit
from pitboss.report.persistent import persistent_figure
from pitboss.studies.model import Study
from tasks.artifacts import keep_picture, show_table
from tasks.model import carry_out
from tasks.policies import PART, STEP
from tasks.study import open_results


@task(name="held chunk", task_run_name="hold {unit.slug}", **PART)
def held_chunk(study: Study, unit: Unit) -> dict[str, Any]:
    """Play all games of each value of each feature of the chunk and of its controls."""
    alias = persistent.section(study).model
    return carry_out(persistent.run, study, alias, unit, open_results(study))


@task(name="held effects", **STEP)
def held_effects(study: Study) -> None:
    """Test every arm against the games without a patch, and safe values against risky ones."""
    store = open_results(study)
    found = held.run(study, store)
    table = store.read("persistent_effects", [found.effects.key]).to_pandas()
    show_table(
        f"{study.name}-persistent",
        [_row(row) for _, row in table.sort_values("p_bankruptcy").iterrows()],
        "Games under a patch that stays, against the same games without it",
        rest=found.effects.path,
    )
    caption = "What a patch that stays does to bankruptcy"
    keep_picture(store, "persistent", persistent_figure(table), caption)
    show_table(
        f"{study.name}-persistent-controls",
        store.read_json(held.CONTROLS)["significant"],
        "Safe against risky values: significant features, and controls that reach the same p",
    )


def _row(row: pd.Series) -> dict[str, Any]:
    shown = {
        "role": row["role"],
        "feature": "" if pd.isna(row["layer"]) else f"L{row['layer']:.0f}/F{row['feature']:.0f}",
        "arm": row["arm"],
        "bankrupt": f"{row['bankruptcies']}/{row['n']}",
    }
    for name in ("bankruptcy", "rounds", "betting", "loss_chasing", "extreme"):
        shown[f"Δ {name.replace('_', ' ')}"] = row[f"difference_{name}"]
    return {**shown, "p": row["p_bankruptcy"], "q": row["q_bankruptcy"]}
