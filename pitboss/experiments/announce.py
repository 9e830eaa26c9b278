"""What will run, and what of the plan cannot be met, said before anything starts."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from pitboss.experiments.runtime.plan import Plan
from pitboss.formats import byte_size
from pitboss.models.catalogue import pairing_warnings
from pitboss.store.identity import digest
from pitboss.studies.model import Study
from pitboss.studies.workload import Workload

ANNOUNCEMENT, DECLARATION = "announcement.md", "declaration.json"


@dataclass(frozen=True)
class Announcement:
    """A study's workload.

    Attributes:
        study: The study's name.
        fingerprint: Digest of all settings that results depend on (neither floor nor memory).
        work: One entry an experiment and model, in the order in which they can run.
        runs: Sum over the experiments that generate text.
        tokens: Most tokens that can be generated.
        bytes: Most bytes written, uncompressed.
        notes: Sentences on what differs from the plan, and on what a reader has to know.
    """

    study: str
    fingerprint: str
    work: tuple[Workload, ...]
    runs: int
    tokens: int
    bytes: int
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain data for a JSON file."""
        return asdict(self)

    def as_markdown(self) -> str:
        """The announcement as a person reads it."""
        rows = [
            f"| {w.experiment} | {w.model} | {w.conditions:,} | {w.runs:,} | {w.responses:,} "
            f"| {w.tokens:,} | {byte_size(w.bytes)} |"
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
                f"| **all** | | | {self.runs:,} | {sum(w.responses for w in self.work):,} "
                f"| {self.tokens:,} | {byte_size(self.bytes)} |",
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


def announce(plan: Plan) -> Announcement:
    """Work out what a study asks for; nothing that is stored is looked at.

    Raises:
        BadInput: The study includes planted features and their list is not there.
    """
    work = tuple(each for experiment in plan for each in experiment.workload())
    return Announcement(
        plan.study.name,
        digest(plan.study.determining()),
        work,
        sum(w.runs for w in work if w.tokens),
        sum(w.tokens for w in work),
        sum(w.bytes for w in work),
        tuple(_notes(plan)),
    )


def _notes(plan: Plan) -> Iterator[str]:
    yield from _models(plan.study)
    yield from _widths(plan.study)
    yield from _memory(plan.study)
    if any(experiment.judged for experiment in plan):
        yield from _quality(plan.study)
    kinds = Counter(experiment.settings.kind for experiment in plan)
    for experiment in plan:
        of_several = kinds[experiment.settings.kind] > 1
        for note in experiment.notes():
            yield f"{experiment.name}: {note}" if of_several else note


def _models(study: Study) -> Iterator[str]:
    for alias, choice in study.models.items():
        for warning in (*study.spec(alias).warnings, *pairing_warnings(choice.id, choice.sae)):
            yield f"{alias}: {warning}"


def _widths(study: Study) -> Iterator[str]:
    engine = study.engine
    if engine.games_width not in (None, engine.width):
        yield (
            f"Matrix products have {engine.games_width:,} rows where every response has a prompt "
            f"of its own, {engine.width:,} elsewhere; the last bits of a result depend on that "
            "number."
        )


def _memory(study: Study) -> Iterator[str]:
    reserve, most = study.engine.reserve_gb, study.engine.memory_gb
    cap = "" if most is None else f" A process holds at most {most:g} GB."
    if reserve is None:
        yield f"Nobody watches what others need of a GPU's memory while this runs.{cap}"
    else:
        yield (
            f"{reserve:g} GB of each GPU are left to others: when less is free, fewer rows run at "
            f"once, then none until there is room. Results do not depend on it.{cap}"
        )


def _quality(study: Study) -> Iterator[str]:
    limits = study.quality
    if limits is None:
        yield "No experiment is stopped for its responses, however few state a decision."
        return
    yield (
        f"An experiment stops if, of its first {limits.after:,} responses or of all, fewer than "
        f"{limits.readable:.0%} state a decision or more than {limits.cut_off:.0%} are cut off at "
        "the token limit before one (study file, quality). Of patched experiments the unpatched "
        "runs are judged: what a patch does to responses is a finding."
    )


def write_announcement(plan: Plan, announced: Announcement | None = None) -> str:
    """Write announcement.md and what each experiment declares; returns the text of the former."""
    text = (announced or announce(plan)).as_markdown()
    for experiment in plan:
        if declared := experiment.declared():
            plan.store.write_json(experiment.file(DECLARATION), declared.document)
            text += f"\n{declared.text}"
    plan.store.write_bytes(ANNOUNCEMENT, text.encode())
    return text
