"""How responses are drawn, stated in full: no library default decides anything silently."""

from typing import Annotated

from pydantic import Field, model_validator

from pitboss.studies.fields import Section


class Sampling(Section):
    """How the next token is drawn.

    The defaults are what the original study's call meant: it set a temperature of 0.7 and left
    the rest to transformers, whose silent top-k is 50 and whose top-p is the model's own.
    """

    temperature: Annotated[float, Field(ge=0, le=10)] = 0.7
    """Divides the logits; 0 always takes the likeliest token (greedy)."""

    top_k: Annotated[int, Field(ge=0)] = 50
    """Only this many of the likeliest tokens can be drawn; 0 allows all of them."""

    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    """Only the likeliest tokens that together reach this probability can be drawn. Empty means
    the model's own value from its generation configuration (0.9 for Llama-3.1, 1 where it states
    none); the value used is recorded in the results."""

    max_new_tokens: Annotated[int, Field(ge=1, le=8192)] = 100
    """Longest response, in tokens. A response that reaches it without a decision is truncated."""

    min_new_tokens: Annotated[int, Field(ge=0)] = 0
    """The response cannot end by itself before this many tokens."""

    @model_validator(mode="after")
    def _lengths_fit(self) -> "Sampling":
        if self.min_new_tokens > self.max_new_tokens:
            raise ValueError(
                f"min_new_tokens ({self.min_new_tokens}) exceeds "
                f"max_new_tokens ({self.max_new_tokens})"
            )
        return self

    @property
    def greedy(self) -> bool:
        """Whether repeated draws of one prompt are all the same text."""
        return self.temperature == 0


def refuse_greedy_retries(sampling: Sampling, retries: int) -> None:
    """A greedy retry only repeats the response that could not be read."""
    if sampling.greedy and retries > 0:
        raise ValueError(
            f"temperature 0 repeats the same response, so retries must be 0, not {retries}"
        )
