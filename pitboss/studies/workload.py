"""How much an experiment asks for, at most: what is announced, planned and checked against a disk.

Byte counts are of the uncompressed rows; the stored files are smaller. Their constants:

* ``TOKEN_BYTES`` 4: an English token is about four characters.
* ``DECISION_BYTES`` 1,500: one game decision's prompt text, keys and columns.
* ``STATISTIC_BYTES`` 100: one feature's row of group means, tests and flags.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pitboss.games.prompts import PROMPTS, Round, State, render

TOKEN_BYTES = 4
DECISION_BYTES = 1_500
STATISTIC_BYTES = 100
# Without the model's tokenizer: English text has about four characters a token, numbers fewer.
_CHARACTERS_PER_TOKEN = 3


@dataclass(frozen=True)
class Shape:
    """What one engine of the experiment is made for, which decides how much of a GPU it takes.

    Attributes:
        prompt: Tokens of the longest prompt.
        tokens: Tokens of the longest response.
        prefixes: Prompts that requests share; None where each has its own.
        captured: Layers whose states are kept.
        saes: Whole SAEs on the device at once.
    """

    prompt: int
    tokens: int
    prefixes: int | None = None
    captured: int = 0
    saes: int = 0


@dataclass(frozen=True)
class Shared:
    """What several workers share of an experiment: features, in chunks of one layer.

    Attributes:
        layers: Layer -> features at most, as they are to be expected.
        runs: Runs of one feature.
        chunk: Features of a chunk at most.
    """

    layers: Mapping[int, int]
    runs: int
    chunk: int

    @property
    def features(self) -> int:
        return sum(self.layers.values())


@dataclass(frozen=True)
class Workload:
    """One experiment with one model.

    Attributes:
        experiment: The study's name of the experiment.
        kind: Its kind; speeds that were measured are looked up by it.
        model: The study's name of the model.
        conditions: Prompt conditions or scenes.
        runs: Games, screened decisions, patched and unpatched runs, or features: what the
            experiment counts.
        responses: Most responses that can be generated, all rounds and retries included.
        tokens: Most tokens that can be generated.
        bytes: Most bytes written, uncompressed.
        formula: How these numbers come about.
        shape: What its engine is made for.
        shared: What several workers share of it; None where one carries it out.
    """

    experiment: str
    kind: str
    model: str
    conditions: int
    runs: int
    responses: int
    tokens: int
    bytes: int
    formula: str
    shape: Shape
    shared: Shared | None = field(default=None)


def decisions(games: int, rounds: int, retries: int, limit: int) -> tuple[int, int, int]:
    """Most responses, tokens and bytes of so many games."""
    responses = games * rounds * (1 + retries)
    return responses, responses * limit, responses * (DECISION_BYTES + TOKEN_BYTES * limit)


def prompt_tokens(text: str) -> int:
    """About how many tokens a prompt has."""
    return len(text) // _CHARACTERS_PER_TOKEN


def longest_game_prompt(prompt: str) -> str:
    """A game's prompt with every component, a full history and seven-digit balances."""
    if not PROMPTS[prompt].needs_state:
        return render(prompt).text
    rounds = tuple(Round(n, 1_000_000, False, 9_000_000) for n in range(91, 100))
    return render(prompt, State(PROMPTS[prompt].fullest, 9_000_000, rounds)).text


def spread(features: int, layers: list[int]) -> dict[int, int]:
    """As many features in each layer as are to be expected, before it is known which they are."""
    each, rest = divmod(features, len(layers))
    return {layer: each + (n < rest) for n, layer in enumerate(sorted(layers)) if each + (n < rest)}
