"""What a patching is split into: chunks of features or controls of one layer, as units.

A unit's identity is everything that its runs depend on, and so its content key.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from pitboss.experiments.patching.arms import BASELINE, Chunk, asked
from pitboss.experiments.patching.controls import chosen, named
from pitboss.experiments.patching.interim import Interim, InterimUnit, rule_of
from pitboss.experiments.patching.random_bank import is_drawn
from pitboss.experiments.runtime.identity import model_identity, prompts_identity
from pitboss.experiments.runtime.unit import Unit
from pitboss.games.scenes import texts_hash

if TYPE_CHECKING:
    from pitboss.experiments.patching.experiment import Patching
    from pitboss.saes.bank import FeatureBank


def baseline(patching: "Patching") -> Unit:
    """The unpatched runs, shared by all features; with them the random features are drawn."""
    chunk = Chunk(BASELINE, tuple(asked(patching.settings)))
    unit = _unit(patching, "baseline", chunk, {"baseline": True}, 1)
    if not patching.settings.controls.random_features:
        return unit
    return replace(unit, intact=lambda _: is_drawn(patching))


def failing_first(patching: "Patching") -> Iterator[Unit]:
    """The controls that can stop a study: own values, then reconstructions layer by layer."""
    bank, wanted = patching.bank, patching.settings.controls
    prompts = tuple(asked(patching.settings))
    own = chosen(bank, patching.study.seed, "own_value", wanted.own_value)
    if len(own):
        yield feature_unit(patching, "own-value", bank, Chunk("own_value", prompts, own))
    for layer, of_layer in by_layer(bank) if wanted.reconstruction else ():
        chunk = Chunk("reconstruction", prompts, of_layer.rows([0]))
        identity = {"sae": bank.meta["saes"][str(layer)], **_arm_identity(patching)}
        slug = f"reconstruction-L{layer:02d}"
        yield _unit(patching, slug, chunk, {"role": chunk.role, **identity}, 1)


def of_features(patching: "Patching") -> Iterator[Unit]:
    """The chunks of the features that are patched."""
    bank, prompts = patching.bank, tuple(asked(patching.settings))
    for _, of_layer in by_layer(bank):
        for start, some in pieces(of_layer, patching.settings.chunk):
            chunk = Chunk("feature", prompts, some)
            unit = feature_unit(patching, "", bank, chunk, start, patching.chosen_by)
            yield _grown(patching, unit)


def of_random_controls(patching: "Patching") -> Iterator[Unit]:
    """The chunks of the random features and of the random directions.

    Raises:
        Incomplete: The random features are not drawn yet.
    """
    settings, bank, random = patching.settings, patching.bank, patching.random_bank
    prompts = tuple(asked(settings))
    for _, of_layer in by_layer(random) if random is not None else ():
        assert random is not None
        names = dict(zip(_pairs(random), random.meta["matched"], strict=True))
        for start, some in pieces(of_layer, settings.chunk):
            matched = tuple(names[pair] for pair in _pairs(some))
            chunk = Chunk("random_feature", prompts, some, matched)
            yield _grown(patching, feature_unit(patching, "random-", random, chunk, start))
    if settings.mode != "delta":
        return
    seed, count = patching.study.seed, settings.controls.random_directions
    for start, some in pieces(chosen(bank, seed, "random_direction", count), settings.chunk):
        matched = tuple(named(layer, feature) for layer, feature in _pairs(some))
        chunk = Chunk("random_direction", prompts, some, matched)
        yield _grown(patching, feature_unit(patching, f"directions-{start:04d}", bank, chunk))


def feature_unit(
    patching: "Patching",
    prefix: str,
    bank: "FeatureBank",
    chunk: Chunk,
    start: int | None = None,
    more: Mapping[str, Any] | None = None,
) -> Unit:
    """A unit of features or controls.

    Args:
        prefix: First part of its name; layer and start follow where a start is given.
        bank: The bank they come from, whose meta names the SAEs.
        more: What its identity says besides.
    """
    assert chunk.bank is not None
    layers = sorted(set(chunk.bank.layer.tolist()))
    slug = prefix if start is None else f"{prefix}L{layers[0]:02d}-{start:04d}"
    names = patching.settings.values if chunk.role != "own_value" else []
    role = {} if chunk.role == "feature" else {"role": chunk.role, "matched": list(chunk.matched)}
    saes = [bank.meta["saes"][str(layer)] for layer in layers]
    identity = {
        **(more or {}),
        **role,
        "sae": saes[0] if len(saes) == 1 else saes,
        "features": chunk.bank.feature.tolist(),
        **({"layers": chunk.bank.layer.tolist()} if len(layers) > 1 else {}),
        "values": {name: chunk.bank.values[name].tolist() for name in names},
        **_arm_identity(patching),
    }
    return _unit(patching, slug, chunk, identity, max(1, len(names)))


def by_layer(bank: "FeatureBank") -> Iterator[tuple[int, "FeatureBank"]]:
    """A bank's features layer by layer."""
    for layer in sorted(set(bank.layer.tolist())):
        yield layer, bank.rows([i for i, at in enumerate(bank.layer.tolist()) if at == layer])


def pieces(bank: "FeatureBank", size: int) -> Iterator[tuple[int, "FeatureBank"]]:
    """A bank in pieces of at most so many features, each with the row it starts at."""
    for start in range(0, len(bank), size):
        yield start, bank.rows(list(range(start, min(start + size, len(bank)))))


def _grown(patching: "Patching", unit: Unit) -> Unit:
    """In a sequential design the unit that grows by interim analyses, else the unit itself."""
    settings, chunk = patching.settings, unit.payload
    if settings.sequential is None:
        return unit
    rule = rule_of(settings, len(patching.bank) * len(settings.scenes))
    identity = {**unit.identity, "sequential": asdict(rule)}

    def make(of_part: Chunk, number: int) -> Unit:
        trials = [[a.prompt.name, a.trials.start, a.trials.stop] for a in of_part.prompts]
        stopped = sorted([*name] for name in of_part.stopped)
        return replace(
            unit,
            slug=f"{unit.slug}-look-{number + 1}",
            identity={**identity, "look": number, "trials": trials, "stopped": stopped},
            rows=len(settings.values) * of_part.runs,
            payload=of_part,
        )

    return InterimUnit(
        unit.experiment,
        unit.task,
        unit.kind,
        unit.slug,
        identity,
        None,
        model=unit.model,
        payload=Interim(chunk, rule, make),
    )


def _unit(
    patching: "Patching", slug: str, chunk: Chunk, identity: Mapping[str, Any], values: int
) -> Unit:
    """A unit of runs; `values` counts the arms of each feature in each prompt."""
    settings = patching.settings
    fixed = [a.prompt.name for a in chunk.prompts if a.prompt.name in settings.prompts]
    states = [a.prompt.name for a in chunk.prompts if a.prompt.name not in settings.prompts]
    return Unit(
        experiment=patching.name,
        task="feature chunk",
        kind="trials",
        slug=f"{patching.model}/{slug}",
        identity={
            **model_identity(patching.study, patching.model),
            "phase": chunk.phase,
            "prompts": prompts_identity(fixed),
            "states": {"names": states, "texts": texts_hash(states)},
            "trials": [[a.trials.start, a.trials.stop] for a in chunk.prompts],
            "sampling": settings.sampling.model_dump(),
            "full_response": settings.full_response,
            # Reading can be done again from the stored text, unless it decided where the text ends.
            "reader": None if settings.full_response else settings.reader,
            **identity,
        },
        rows=values * chunk.runs,
        model=patching.model,
        payload=chunk,
    )


def _arm_identity(patching: "Patching") -> dict[str, Any]:
    return {"mode": patching.settings.mode, "positions": patching.settings.positions}


def _pairs(bank: "FeatureBank") -> list[tuple[int, int]]:
    return list(zip(bank.layer.tolist(), bank.feature.tolist(), strict=True))
