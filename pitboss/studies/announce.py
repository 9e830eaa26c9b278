"""What will run, and what of the plan cannot be met, said before anything starts."""

from dataclasses import asdict, dataclass
from typing import Any

from pitboss.saes.planted import planted
from pitboss.store.identity import digest
from pitboss.studies.model import Study
from pitboss.studies.notes import notes
from pitboss.studies.workload import Work, patched_features, patching_runs, workload


@dataclass(frozen=True)
class PatchingNumbers:
    """The patching experiment as planned and as it will run.

    Args:
        features: Most features that can be patched.
        runs: Most runs, with the baseline drawn once per prompt and shared by all features.
        plan_runs: The plan's way of counting: the baseline drawn again for every feature.
    """

    features: int
    runs: int
    plan_runs: int


@dataclass(frozen=True)
class Announcement:
    """A study's workload.

    Args:
        study: The study's name.
        fingerprint: Digest of all settings that results depend on (neither floor nor memory).
        work: One entry per experiment and model.
        conditions: Prompt conditions of the games.
        runs: Sum over the experiments that generate text.
        tokens: Most tokens that can be generated.
        bytes: Most bytes written, uncompressed.
        patching: Planned and actual numbers of the patching experiment.
        notes: Sentences on what differs from the plan, and on what a reader has to know.
    """

    study: str
    fingerprint: str
    work: tuple[Work, ...]
    conditions: int
    runs: int
    tokens: int
    bytes: int
    patching: PatchingNumbers
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain data for a JSON file."""
        return asdict(self) | {"work": [w._asdict() for w in self.work]}

    def as_markdown(self) -> str:
        """The announcement as a person reads it."""
        rows = [
            f"| {w.experiment} | {w.model} | {w.conditions:,} | {w.runs:,} | {w.responses:,} "
            f"| {w.tokens:,} | {_size(w.bytes)} |"
            for w in self.work
        ]
        return "\n".join(
            [
                f"# Study {self.study}: what will run",
                "",
                "Responses, tokens and bytes are upper bounds; most games end long before their "
                "last round.",
                "",
                "| experiment | model | conditions | runs | responses ≤ | tokens ≤ | on disk ≤ |",
                "|---|---|---:|---:|---:|---:|---:|",
                *rows,
                f"| **all** | | {self.conditions:,} | {self.runs:,} "
                f"| {sum(w.responses for w in self.work):,} "
                f"| {self.tokens:,} | {_size(self.bytes)} |",
                "",
                "## How the numbers come about",
                "",
                *(f"- **{w.experiment}, {w.model}**: {w.formula}." for w in self.work),
                "",
                "## What differs from the plan, and what to know",
                "",
                *(f"- {note}" for note in self.notes),
                "",
                f"Fingerprint of the settings: `{self.fingerprint}`",
                "",
            ]
        )


def announce(study: Study) -> Announcement:
    """Work out what a study asks for.

    Raises:
        BadInput: The study includes planted features and their list is not there.
    """
    included = _included(study)
    work = tuple(workload(study, included))
    features = patched_features(study, included)
    runs, plan_runs = patching_runs(study, features)
    return Announcement(
        study.name,
        digest(study.determining()),
        work,
        len(study.games.resolved_conditions),
        sum(w.runs for w in work if w.tokens),
        sum(w.tokens for w in work),
        sum(w.bytes for w in work),
        PatchingNumbers(features, runs, plan_runs),
        tuple(notes(study, features)),
    )


def _included(study: Study) -> int:
    """Features that the patched model's bank holds besides the selected ones, at most."""
    include = study.features.include
    if isinstance(include, dict):
        return sum(len(ids) for ids in include.values())
    if include == "none":
        return 0
    known = planted(study.models[study.patching.model].sae)
    return sum(
        len(ids)
        for layer, roles in known.items()
        if layer in study.features.layers
        for ids in roles.values()
    )


def _size(count: int) -> str:
    """``1_500_000`` -> ``1.5 MB``."""
    size = float(count)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size < 1000 or unit == "TB":
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    raise AssertionError("unreachable")
