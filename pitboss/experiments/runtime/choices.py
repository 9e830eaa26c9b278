"""Which first tokens make a decision, and whether a prompt's decision is made by its first token.

A token makes a choice if a response that consists of this token alone is read as that choice: "1"
bets and "2" stops, "12" is neither, and neither is a space, behind which anything may come. The
reader itself would wait after a "2", because "2nd" might follow; how often the first token and the
whole response read differently is counted in docs/screening.md.
"""

from collections.abc import Mapping, Sequence

from pitboss.engine.screening import Screen
from pitboss.errors import BadInput
from pitboss.games.menu import Menu
from pitboss.games.prompts import Prompt
from pitboss.games.reading import reader
from pitboss.models.loading import LoadedModel

STOP, BET = "stop", "bet"
_NEXT = "Screen prompts that ask for the number of a choice, and sample the others."


def choice_tokens(loaded: LoadedModel, prompts: Sequence[Prompt]) -> dict[str, list[int]]:
    """The tokens that make each choice as a response's first token: {"bet": ids, "stop": ids}.

    Raises:
        BadInput: A prompt's decision is not made at the beginning of the response, no token makes
            a choice, or the prompts' tokens differ.
    """
    for prompt in prompts:
        if prompt.menu.style != "choice":
            raise BadInput(
                "The decision is not made by the response's first token: the response argues "
                f"before it decides (style {prompt.menu.style}).",
                where=f"prompt {prompt.name}",
                next=_NEXT,
            )
    texts = {
        token: loaded.decode([token])
        for token in range(loaded.model.config.vocab_size)
        if token not in loaded.eos_ids
    }
    # Which option a response names follows from the style; amounts only say which stake is read.
    styles = {(p.menu.style, p.menu.bet_type): p.menu for p in prompts}
    of_style = {style: _of_menu(texts, menu) for style, menu in styles.items()}
    found = [of_style[p.menu.style, p.menu.bet_type] for p in prompts]
    for prompt, tokens in zip(prompts, found, strict=True):
        if not all(tokens.values()):
            raise BadInput(
                f"The tokenizer of {loaded.spec.id} has no single token for a choice: {tokens}.",
                where=f"prompt {prompt.name}",
                next=_NEXT,
            )
        if tokens != found[0]:
            raise BadInput(
                f"The choices of {prompts[0].name} and {prompt.name} are made by different tokens.",
                where="screening.prompts",
                next="Screen them in studies of their own.",
            )
    return found[0]


def _of_menu(texts: Mapping[int, str], menu: Menu) -> dict[str, list[int]]:
    read = reader("menu")
    made: dict[str, list[int]] = {BET: [], STOP: []}
    for token, text in texts.items():
        decision = read.read(text, menu, "eos").decision
        if decision in made:
            made[decision].append(token)
    return made


def require_decided(screen: Screen, prompts: Sequence[Prompt], least: float) -> None:
    """Refuse prompts whose first token, without a patch, is too rarely any of the choices.

    Raises:
        BadInput: Names each such prompt with its probability.
    """
    decided = screen.unpatched.decided
    assert decided is not None  # the unpatched decision is always over the whole vocabulary
    low = [
        f"{prompt.name} ({mass:.3f})"
        for prompt, mass in zip(prompts, decided.tolist(), strict=True)
        if mass < least
    ]
    if low:
        raise BadInput(
            f"The first token makes the decision with a probability below {least} in "
            f"{', '.join(low)}.",
            where="screening.min_decided_mass",
            next="Sample these prompts instead, or set a lower limit under another study name.",
        )
