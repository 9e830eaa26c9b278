"""What tests of the screening share: studies that go on from the small study's selection."""

from pathlib import Path
from typing import Any

import pandas as pd
import torch

from pitboss.experiments.runtime.carry_out import carry_out_all
from pitboss.experiments.runtime.context import ModelContext
from pitboss.experiments.runtime.plan import Plan
from pitboss.experiments.screening.experiment import Screening
from pitboss.games.scenes import scene
from pitboss.models.loading import LoadedModel
from tests.experiments.banks import selection_of
from tests.experiments.small import ALIAS, Whole, on, small_plan

SCENES = ["exp2/safe", "exp2/risky"]
BEFORE = ["games", "decisions", "sums", "statistics", "features"]


def screened(whole: Whole) -> pd.DataFrame:
    keys = [unit.key for unit in screening_of(whole.plan).chunks]
    return whole.store.read("screening", keys).to_pandas()


def screening_of(plan: Plan) -> Screening:
    found = plan["screening"]
    assert isinstance(found, Screening)
    return found


def after_selection(
    whole: Whole, root: Path, **experiments: dict[str, Any]
) -> tuple[Plan, ModelContext]:
    """A study that differs behind the selection of features, with all that comes before it."""
    plan = small_plan(root, **experiments)
    for kind in BEFORE:
        for record in whole.store.records(kind):
            key = record.ref.key
            if kind in ("games", "decisions") and "pathway" in key:
                continue
            table = whole.store.read(kind, [key])
            plan.store.commit(kind, key, table, identity=record.identity)
    selection_of(whole.plan).bank().save(selection_of(plan).bank_path)
    return plan, on(whole.context, plan)


def screen(plan: Plan, context: ModelContext) -> None:
    carry_out_all(plan, plan["screening"], ALIAS, lambda _: context)


@torch.no_grad()
def plain(
    loaded: LoadedModel, prompt: str, layer: int, sae: Any, feature: int, value: float
) -> tuple[float, float]:
    """Logits of "1" and "2" by one uncached forward with a hook on the whole prompt."""

    def hook(_: object, __: object, output: torch.Tensor) -> torch.Tensor:
        x = output[:, -1]
        activations = sae.encode(x)
        error = x - sae.decode(activations)
        activations[:, feature] = value
        output = output.clone()
        output[:, -1] = sae.decode(activations) + error
        return output

    handle = loaded.model.model.layers[layer].register_forward_hook(hook)
    try:
        logits = loaded.model(torch.tensor([loaded.encode(scene(prompt).text)])).logits[0, -1]
    finally:
        handle.remove()
    one, two = (loaded.tokenizer.convert_tokens_to_ids(text) for text in "12")
    return float(logits[one].double()), float(logits[two].double())
