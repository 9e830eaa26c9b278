"""Exp3: what the causal features are about.

The tokens that their decoder rows promote and the words of their responses; where in stored texts
they are most active; and, if the study asks for it, what a language model says of them.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from pitboss.errors import Incomplete
from pitboss.experiments.patching.experiment import Patching
from pitboss.experiments.runtime.artifacts import Artifact, FigureArtifact, TableArtifact
from pitboss.experiments.runtime.experiment import Experiment, Stages
from pitboss.experiments.runtime.identity import model_identity
from pitboss.experiments.runtime.unit import Outcome, Unit
from pitboss.experiments.words.questions import ASKED
from pitboss.experiments.words.settings import WordsSettings
from pitboss.report.figures import words_figure
from pitboss.studies.workload import STATISTIC_BYTES, Shape, Workload

if TYPE_CHECKING:
    import pandas as pd

    from pitboss.experiments.runtime.context import ModelContext
    from pitboss.saes.bank import FeatureBank

Names = list[tuple[int, int]]
"""Layer and feature of each."""

TOGETHER = "all"
"""What the table of words calls all causal features together."""


@dataclass(frozen=True)
class Sources:
    """Stored parts whose responses are read again: batches of games, and the unpatched runs."""

    games: list[str]
    baseline: str


class Words(Experiment[WordsSettings]):
    """Tokens, words, contexts and descriptions of the features that a patching found causal."""

    @cached_property
    def patching(self) -> Patching:
        return self.reads(Patching, self.settings.patching)

    @cached_property
    def causal(self) -> Names:
        """Layer and feature of those found causal, ascending.

        Raises:
            Incomplete: The effects of the patching are not tested yet.
        """
        return self.patching.causal()

    def stages(self, model: str) -> Stages:
        yield [self.analysis()]
        if self.settings.contexts is not None:
            yield [self.contexts()]
        if self.settings.describe is not None:
            yield self.descriptions()

    def analysis(self) -> Unit:
        """The one unit of tokens and words: all features found causal.

        Raises:
            Incomplete: The effects of the patching are not tested yet.
        """
        model, settings = self.patching.model, self.settings
        determining = settings.model_dump(include={"top_tokens", "matrix", "prior"})
        return Unit(
            experiment=self.name,
            task="word analysis",
            kind="tokens",
            slug=f"{model}/words",
            identity={
                "effects": self.patching.effects_ref().sha256,
                "words": {"model": model, **determining},
            },
            rows=len(self.causal) * settings.top_tokens,
            beside=("words",),
            model=model,
        )

    def contexts(self) -> Unit:
        """The one unit of contexts: all features found causal.

        Raises:
            Incomplete: The effects of the patching are not tested yet.
        """
        model, settings = self.patching.model, self.settings.contexts
        assert settings is not None  # only asked where the study wants contexts
        sources = Sources(self.patching.games_keys(), self.patching.baseline_unit().key)
        return Unit(
            experiment=self.name,
            task="feature contexts",
            kind="contexts",
            slug=f"{model}/contexts",
            identity={
                **model_identity(self.study, model),
                "effects": self.patching.effects_ref().sha256,
                "contexts": settings.model_dump(),
                "games": sources.games,
                "baseline": sources.baseline,
            },
            rows=None,  # a feature that is active in fewer texts has fewer contexts
            model=model,
            at_once=len({layer for layer, _ in self.causal}) or 1,
            payload=sources,
        )

    def descriptions(self) -> list[Unit]:
        """One unit a layer with causal features.

        Raises:
            Incomplete: Tokens or contexts are not there yet.
        """
        settings, model = self.settings.describe, self.patching.model
        assert settings is not None  # only asked where the study wants descriptions
        shown = {"tokens": self.analysis(), "contexts": self.contexts()}
        sha256 = {}
        for name, unit in shown.items():
            if (ref := unit.ref(self.store)) is None:
                raise Incomplete(f"The {name} of the causal features are not there yet.")
            sha256[name] = ref.sha256
        writer = settings.model if settings.url is None else None
        identity = {
            **sha256,
            "asked": ASKED,
            "describe": settings.model_dump(exclude={"key_variable", "timeout_seconds"}),
            "writer": model_identity(self.study, writer, own_prompts=True) if writer else None,
        }
        by_layer: dict[int, Names] = {}
        for feature in self.causal:
            by_layer.setdefault(feature[0], []).append(feature)
        return [
            Unit(
                experiment=self.name,
                task="describe layer",
                kind="descriptions",
                slug=f"{model}/descriptions-L{layer:02d}",
                identity={**identity, "layer": layer},
                rows=len(features),
                model=writer,
                payload=features,
            )
            for layer, features in sorted(by_layer.items())
        ]

    def run(self, context: "ModelContext | None", unit: Unit, slots: int | None = None) -> Outcome:
        """Carry out one unit.

        Raises:
            NotWritten: A description was not obtained; the layer is asked again when this is run
                again.
        """
        if unit.kind == "descriptions":
            return self._describe(context, unit.payload, slots)
        assert context is not None  # what reads weights or texts names its model
        if unit.kind == "contexts":
            return self._find(context, unit, slots)
        return self._analyse(context)

    def _analyse(self, context: "ModelContext") -> Outcome:
        from pitboss.experiments.words.analysis import promoted_tokens, used_words

        tables = {
            "words": used_words(self._trials(), self.causal, self.settings.prior),
            "tokens": promoted_tokens(context, self.bank(), self.settings),
        }
        return Outcome(tables, {"causal": len(self.causal)})

    def _find(self, context: "ModelContext", unit: Unit, slots: int | None) -> Outcome:
        from pitboss.experiments.words.contexts import find, responses

        settings, sources = self.settings.contexts, unit.payload
        assert settings is not None
        sample = responses(
            self.store, self.study.seed, sources.games, sources.baseline, settings.texts
        )
        return find(context, settings, self.bank(), sample, slots or unit.at_once or 1)

    def _describe(
        self, context: "ModelContext | None", features: Names, slots: int | None
    ) -> Outcome:
        from pitboss.experiments.words.descriptions import describe
        from pitboss.experiments.words.questions import questions

        settings = self.settings.describe
        assert settings is not None
        tables = [
            self.store.read(unit.kind, [unit.key]).to_pandas()
            for unit in (self.analysis(), self.contexts())
        ]
        asked = questions(settings, features, *tables)
        key = self.plan.secrets.get(settings.key_variable, "")
        of = self.study.spec(self.patching.model).id
        return describe(context, settings, of, asked, key=key, slots=slots)

    def bank(self) -> "FeatureBank":
        """The causal features of those that were patched."""
        bank = self.patching.bank
        pairs = zip(bank.layer.tolist(), bank.feature.tolist(), strict=True)
        place = {pair: i for i, pair in enumerate(pairs)}
        return bank.rows([place[pair] for pair in self.causal])

    def _trials(self) -> "pd.DataFrame":
        return self.patching.read_trials([unit.key for unit in self.patching.trial_units()])

    def workload(self) -> list[Workload]:
        patching, top = self.patching, self.settings.top_tokens
        features = patching.most()
        return [
            Workload(
                self.name,
                self.settings.kind,
                patching.model,
                len(patching.settings.prompts),
                features,
                0,
                0,
                features * top * STATISTIC_BYTES,
                f"the features found causal, at most {features:,}, × {top} tokens × "
                f"{STATISTIC_BYTES} bytes; generates nothing",
                Shape(prompt=1, tokens=1, prefixes=1, saes=1),
            )
        ]

    def notes(self) -> Iterable[str]:
        if not self.patching.settings.full_response:
            yield (
                "Responses end as soon as their decision is certain, so hardly any words are left "
                f"to count; set full_response of {self.patching.name} to true for the word "
                "analysis."
            )
        yield (
            "The plan names 441 causal features, which were chosen by the sign of two differences "
            "without a test; here the features found causal by this study's own tests are taken."
        )
        describe = self.settings.describe
        if describe is not None and describe.url is not None:
            yield (
                "Top tokens and contexts of the causal features, which quote prompts and "
                f"responses, are sent to {describe.url}, whose model {describe.model} describes "
                "them."
            )

    def results(self, model: str) -> Iterable[Artifact]:
        """The words that differ most between safe-value and risky-value responses."""
        found = self.store.read("words", [self.analysis().key]).to_pandas()
        pooled = found[found["scope"] == TOGETHER]
        strongest = pooled.reindex(pooled["z"].abs().sort_values(ascending=False).index)
        shown = ["prompt", "word", "rate_safe", "rate_risky", "log_odds", "z", "q_responses"]
        yield TableArtifact(
            self.name,
            strongest[shown].to_dict("records"),
            "Words by how much they differ between safe-value and risky-value responses",
            rest="words.parquet",
        )
        caption = "Words of safe-value and of risky-value responses"
        yield FigureArtifact(self.named("words"), words_figure(pooled), caption)
