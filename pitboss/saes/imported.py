"""Feature statistics from elsewhere: used only when they say what they are.

A feature id and an activation mean nothing without the space they live in. The original study lost
1,600 GPU hours to ids of raw hidden dimensions used as SAE features, so a table without a
declaration, or with one that differs from the space it is meant for, is refused by field.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pitboss.errors import BadInput, Mismatch
from pitboss.saes.plausibility import Implausible, implausible
from pitboss.saes.selection import Selection, SelectionRules, direction, rank


@dataclass(frozen=True)
class FeatureSpace:
    """The space that feature ids and activations belong to.

    Attributes:
        space: sae, or hidden for raw dimensions of the residual stream.
        model: Model id of the catalogue.
        sae: SAE release id of the catalogue.
        gate: relu, sae_lens or authors.
        hook_point: Such as blocks.{layer}.hook_resid_post, with {layer} standing for the layer.
        token: Token whose activation was taken: prompt_last.
        d_sae: Number of features of a layer's SAE.
    """

    space: Literal["sae", "hidden"]
    model: str
    sae: str
    gate: str
    hook_point: str
    token: str
    d_sae: int

    @classmethod
    def declared(cls, given: Mapping[str, Any], where: str) -> "FeatureSpace":
        """Reads a declaration; raises BadInput naming fields that are missing or unknown."""
        names = [f.name for f in fields(cls)]
        missing = [n for n in names if n not in given]
        unknown = [n for n in given if n not in names]
        if missing or unknown:
            raise BadInput(
                "The declaration of the feature space is not complete: "
                f"missing {missing or 'nothing'}, unknown {unknown or 'nothing'}.",
                where=where,
                next="Declare each of " + ", ".join(names) + "; without them ids mean nothing.",
            )
        return cls(**{name: given[name] for name in names})

    def require(self, own: "FeatureSpace", where: str) -> None:
        """Raises Mismatch naming the first field in which this space is not the study's own."""
        for field in fields(self):
            here, asked = getattr(self, field.name), getattr(own, field.name)
            if here != asked:
                raise Mismatch(
                    "The statistics belong to another feature space: "
                    f"{field.name}: {here!r} here, {asked!r} asked.",
                    where=where,
                    next="Use statistics of the study's own feature space, or a study of theirs.",
                )


@dataclass(frozen=True)
class ImportedStatistics:
    """A table from elsewhere, checked.

    Attributes:
        frame: Columns layer, feature, d, p, log_p, safe, risky; one row a feature.
        space: The declared space, equal to the study's own.
        doubts: Doubtful entries, reported and kept.
        sha256: Hash of the file.
    """

    frame: pd.DataFrame
    space: FeatureSpace
    doubts: list[Implausible]
    sha256: str


_NAMES = {
    "layer": "layer",
    "feature_id": "feature",
    "p_value": "p",
    "cohens_d": "d",
    "safe_mean": "safe",
    "bankrupt_mean": "risky",
}


def import_statistics(
    path: Path,
    *,
    declared: Mapping[str, Any],
    own: FeatureSpace,
    thresholds: Mapping[int, float | NDArray[np.floating[Any]]] | None = None,
) -> ImportedStatistics:
    """Reads a JSON list of feature statistics after comparing its declared space with `own`.

    Args:
        path: List of {layer, feature_id, p_value, cohens_d, bankrupt_mean, safe_mean, ...}.
        declared: What the study file says of the table; each field of `FeatureSpace`.
        own: The space of the model and SAE that will use the features.
        thresholds: layer -> gate threshold, to tell means that no token can have.

    Raises:
        BadInput: The file or the declaration is missing, damaged or incomplete.
        Mismatch: The declared space is not `own`, or ids lie outside it.
    """
    where = str(path)
    space = FeatureSpace.declared(declared, where)
    space.require(own, where)
    try:
        data = path.read_bytes()
        entries = json.loads(data)
    except FileNotFoundError as error:
        raise BadInput("The file does not exist.", where=where) from error
    except ValueError as error:
        raise BadInput(f"The file is not JSON: {error}", where=where) from error
    frame = _frame(entries, where)
    outside = frame[(frame["feature"] < 0) | (frame["feature"] >= space.d_sae)]
    if len(outside):
        raise Mismatch(
            f"{len(outside)} of {len(frame)} feature ids lie outside 0..{space.d_sae - 1}, first "
            f"{outside['feature'].iloc[0]} of layer {outside['layer'].iloc[0]}.",
            where=where,
            next="The table belongs to an SAE of another width.",
        )
    return ImportedStatistics(
        frame, space, implausible(frame, thresholds), hashlib.sha256(data).hexdigest()
    )


def select_imported(imported: ImportedStatistics, rules: SelectionRules) -> Selection:
    """Chooses the features with the largest |d| of each layer from an imported table.

    q stays null: a correction over features that somebody has already filtered would be wrong,
    because nobody knows how many were tested. The rule on q is therefore not applied.
    """
    frame = imported.frame
    passed = frame[(frame["d"].abs() >= rules.min_abs_d) & (frame["p"] < rules.max_p)]
    chosen = rank(passed, rules.per_layer).assign(
        model=imported.space.model, sae=imported.space.sae, q=np.nan
    )
    chosen["direction"] = direction(chosen["d"])
    columns = ["model", "sae", "layer", "feature", "chosen_by", "rank", "safe", "risky"]
    features = chosen[[*columns, "d", "p", "log_p", "q", "direction"]]
    features = features.sort_values(["layer", "feature"]).reset_index(drop=True)
    counts = frame.groupby("layer").size()
    layers = pd.DataFrame(
        {
            "features": counts,
            "tested": counts,
            "passed": passed.groupby("layer").size().reindex(counts.index, fill_value=0),
            "selected": features.groupby("layer").size().reindex(counts.index, fill_value=0),
            "asked": rules.per_layer,
            "included": 0,
        }
    )
    layers = layers.assign(shortfall=layers["asked"] - layers["selected"]).reset_index()
    recorded = {**asdict(rules), "fdr": None, "imported_sha256": imported.sha256}
    return Selection(features, layers, implausible(features), recorded)


def _frame(entries: Any, where: str) -> pd.DataFrame:
    if not isinstance(entries, list) or not entries or not isinstance(entries[0], dict):
        raise BadInput("The file is not a list of feature statistics.", where=where)
    missing = sorted({n for entry in entries for n in _NAMES if entry.get(n) is None})
    if missing:
        raise BadInput(f"Entries lack {', '.join(missing)}.", where=where)
    frame = pd.DataFrame({new: [e[old] for e in entries] for old, new in _NAMES.items()})
    numbers = frame.apply(pd.to_numeric, errors="coerce")
    if not np.isfinite(numbers.to_numpy(np.float64)).all():
        raise BadInput("Entries hold values that are not finite numbers.", where=where)
    if frame.duplicated(["layer", "feature"]).any():
        raise BadInput("A feature of a layer appears more than once.", where=where)
    if ((numbers["p"] < 0) | (numbers["p"] > 1)).any():
        raise BadInput("A p value lies outside 0..1.", where=where)
    with np.errstate(divide="ignore"):
        log_p = np.log(numbers["p"])
    return numbers.assign(log_p=log_p.where(numbers["p"] > 0))
