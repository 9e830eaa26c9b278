"""What a language model says a causal feature is about, shown its top tokens and contexts.

Off unless the study asks for it. A description is a guess: it is stored with who wrote it and with
all that the writer was shown, and no number depends on it.
"""

from collections.abc import Mapping

from pitboss.experiments.runtime.context import ModelContext
from pitboss.experiments.runtime.unit import Outcome
from pitboss.experiments.words.questions import Name
from pitboss.experiments.words.settings import Describe
from pitboss.experiments.words.writers import ask_model, ask_server


def describe(
    context: ModelContext | None,
    settings: Describe,
    model: str,
    asked: Mapping[Name, str],
    *,
    key: str = "",
    slots: int | None = None,
) -> Outcome:
    """Ask about features, and keep the answers.

    Args:
        context: The writer; None where a server writes.
        model: Id of the model whose features they are.
        asked: Layer and feature -> what is asked.
        key: The server's; empty for none.
        slots: Answers that are written at once where memory is short, or None.

    Raises:
        NotWritten: An answer was not obtained.
    """
    if context is None:
        by = f"{settings.model} at {settings.url}"
        written = {name: ask_server(settings, text, key) for name, text in asked.items()}
    else:
        by = context.loaded.spec.id
        written = ask_model(context, settings, asked, slots)
    rows = [
        {
            "model": model,
            "layer": layer,
            "feature": feature,
            "text": written[layer, feature].text,
            "by": by,
            "prompt": prompt,
            "finish": written[layer, feature].finish,
        }
        for (layer, feature), prompt in asked.items()
    ]
    return Outcome({"descriptions": rows}, {"by": by})
