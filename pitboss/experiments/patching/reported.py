"""What a person sees of a finished patching: tables, a picture, and the summary's numbers."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from pitboss.experiments.patching.workload import patched_runs
from pitboss.experiments.runtime.artifacts import Artifact, FigureArtifact, TableArtifact
from pitboss.report.effects import effects_figure
from pitboss.report.tables import control_rows, strongest_effects

if TYPE_CHECKING:
    from pitboss.experiments.patching.experiment import Patching


def effects_shown(patching: "Patching") -> Iterable[Artifact]:
    """The strongest effects, both readers' views, the ladder and the controls."""
    store, name, tested = patching.store, patching.name, patching.effects()
    yield TableArtifact(
        f"{name}-effects",
        strongest_effects(tested),
        "The strongest effects of safe against risky values on stopping",
        rest=patching.effects_ref().path,
    )
    yield TableArtifact(
        f"{name}-readers",
        [
            {
                "prompt": cell["prompt"],
                "original-exp2 reads": cell["old"],
                f"{patching.settings.reader} reads": f"{cell['read']} {cell['reason']}".strip(),
                "responses": cell["responses"],
            }
            for cell in store.read_json(patching.file("readers.json"))
        ],
        "How the original study's keyword reader and this study's reader see the same responses",
    )
    yield TableArtifact(
        f"{name}-ladder",
        store.read_json(patching.file("ladder.json")),
        "The same runs under the original study's rule and, step by step, under this study's",
    )
    yield TableArtifact(
        f"{name}-controls",
        control_rows(store.read_json(patching.file("controls.json"))),
        "Controls that would have been counted as causal features",
    )
    known = patching.selection.known_answers()
    yield FigureArtifact(
        patching.named("effects"),
        effects_figure(tested, planted=sorted(known["causal"]), null=sorted(known["null"])),
        "Effect of each feature on stopping, by layer",
    )


def headline(patching: "Patching") -> dict[str, Any]:
    """How many features are causal, what stands beside it, and the plan's own numbers."""
    causal = set(patching.causal())
    controls = patching.store.read_json(patching.file("controls.json"))
    beside = ("false_positive", "expected_false", "expected_false_high", "own_value")
    work = [each for experiment in patching.plan for each in experiment.workload()]
    found: dict[str, Any] = {
        "patched_features": len(patching.bank),
        "causal_features": len(causal),
        "controls": {name: controls[name] for name in beside},
        "planned": {
            "runs": sum(each.runs for each in work if each.tokens),
            "patching_runs": patched_runs(patching, patching.most()),
        },
    }
    if patching.selection.settings.include == "planted":
        found["planted"] = {
            role: {"features": len(pairs), "found_causal": len(causal & pairs)}
            for role, pairs in patching.selection.known_answers().items()
        }
    return found
