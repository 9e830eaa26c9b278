"""Exp3 in a study file: tokens, words, contexts of a feature, and what describes it."""

import ipaddress
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from pitboss.studies.experiment import ExperimentSettings, Name, Problem, Reads
from pitboss.studies.fields import Section

if TYPE_CHECKING:
    from pitboss.studies.model import Study

Some = Annotated[int, Field(ge=1)]


def _server(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.username:
        raise ValueError("write the server's base URL, such as https://api.openai.com/v1")
    if parts.scheme == "http" and not _local(parts.hostname):
        raise ValueError("another machine is asked by https only: the key and the texts go there")
    return url.rstrip("/")


def _local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Contexts(Section):
    """Where in stored texts a feature is most active."""

    top: Annotated[int, Field(ge=1, le=1000)] = 20
    """Contexts kept of each feature, the most active ones, one of a text at most."""

    texts: Some = 2000
    """Stored responses, with their prompts, that are read: those of the patching's baseline first,
    then the games' in an order of their own. Equal ones count once."""

    around: Annotated[int, Field(ge=0, le=200)] = 24
    """Tokens shown before and behind the one at which it is active."""


class Describe(Section):
    """A description of each causal feature, written by a language model."""

    url: Annotated[str, AfterValidator(_server)] | None = None
    """Base URL of an OpenAI-compatible server, such as http://localhost:8000/v1. Empty: one of the
    study's own models writes."""

    model: Annotated[str, Field(min_length=1, max_length=200)]
    """The model, by the server's name for it, or by the study's where there is no server."""

    key_variable: Annotated[str, Field(pattern="^[A-Z][A-Z0-9_]*$")] = "OPENAI_API_KEY"
    """Environment variable with the server's key. A study holds no key; where the variable is not
    set, none is sent."""

    tokens: Some = 20
    """Top tokens that are shown to the writer."""

    contexts: Some = 10
    """Contexts that are shown to the writer."""

    max_new_tokens: Annotated[int, Field(ge=1, le=4096)] = 80
    """Longest description, in tokens."""

    timeout_seconds: Annotated[float, Field(gt=0, le=3600)] = 120
    """How long the server may take for one description."""


class WordsSettings(ExperimentSettings):
    """Exp3: which tokens a causal feature promotes and which words its responses use."""

    flow: ClassVar[str] = "words"
    carried_out_by: ClassVar[str] = "pitboss.experiments.words.experiment:Words"
    number: ClassVar[str] = "Exp3"

    kind: Literal["words"]

    patching: Annotated[Name, Reads("effects")]
    """The patching whose causal features are looked at."""

    top_tokens: Annotated[int, Field(ge=1, le=1000)] = 50
    """Tokens listed per feature."""

    matrix: Literal["unembedding", "input_embedding"] = "unembedding"
    """What a feature's decoder row is compared with: the unembedding behind the final norm, or
    the input embedding as in the original study."""

    prior: Annotated[float, Field(gt=0)] = 0.01
    """Pseudo-count per word in the log-odds of word rates (Monroe et al. 2008)."""

    contexts: Contexts | None = Contexts()
    """Where each causal feature is most active in stored texts; null for not at all."""

    describe: Describe | None = None
    """Have a language model describe each causal feature; leave it out for none."""

    @model_validator(mode="after")
    def _descriptions_need_contexts(self) -> "WordsSettings":
        if self.describe is not None and self.contexts is None:
            raise ValueError("describe shows contexts to its writer, but contexts is null")
        return self

    def problems(self, study: "Study", name: str) -> Iterator[Problem]:
        describe = self.describe
        if describe is not None and describe.url is None and describe.model not in study.models:
            yield Problem(
                ("experiments", name, "describe", "model"),
                f"the study has no model {describe.model!r}; it has {', '.join(study.models)}",
            )
