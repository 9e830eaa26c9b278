"""Who writes a text for us: a server that speaks the OpenAI protocol, or a model of this study.

A failure is an error that says what to do. It is never a text, and never an empty one.
"""

import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import httpx

from pitboss.engine import EngineConfig, Request
from pitboss.engine import Sampling as EngineSampling
from pitboss.errors import PitbossError
from pitboss.experiments.runtime.context import ModelContext
from pitboss.experiments.words.questions import Name
from pitboss.experiments.words.settings import Describe

WAITS = (1.0, 5.0)
"""Seconds before a request is sent again to a server that is away or busy."""

_BUSY = 429
_SERVER_ERROR = 500
_ADVICE = {
    401: "Set the environment variable {key} to a valid key, where the flow's process sees it.",
    403: "Set the environment variable {key} to a key that may use this model.",
    404: "Check describe.url (it ends before /chat/completions) and describe.model.",
}


class NotWritten(PitbossError):
    """No text was obtained; nothing was stored."""


class Written(NamedTuple):
    """A text and how its writer ended, such as stop or length."""

    text: str
    finish: str | None


def ask_server(settings: Describe, prompt: str, key: str = "") -> Written:
    """Have a server's model answer one prompt, at temperature 0.

    Args:
        settings: With a URL.
        key: The server's, or empty for none. It goes to this URL alone: redirects are not followed.

    Raises:
        NotWritten: The server is away, refuses, or answers with anything but a text.
    """
    where = f"{settings.url}/chat/completions"
    body = {
        "model": settings.model,
        "messages": [{"role": "user", "content": prompt}],
        "temperature": 0,
        "max_tokens": settings.max_new_tokens,
    }
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    for wait in (*WAITS, None):
        try:
            answer = httpx.post(where, json=body, headers=headers, timeout=settings.timeout_seconds)
        except httpx.TransportError as error:
            problem = f"The server does not answer ({type(error).__name__}: {error})."
            advice = "Start it, or correct describe.url; then run words again."
        else:
            if answer.is_success:
                return _text(answer, where)
            problem = f"The server refuses: {answer.status_code} {answer.text[:300]}"
            advice = _ADVICE.get(answer.status_code, "See what the server says; run words again.")
            if answer.status_code != _BUSY and answer.status_code < _SERVER_ERROR:
                break
        if wait is not None:
            time.sleep(wait)
    raise NotWritten(problem, where=where, next=advice.format(key=settings.key_variable))


def _text(answer: httpx.Response, where: str) -> Written:
    """The text of an answer in the protocol's form."""
    try:
        body: Mapping[str, Any] = answer.json()
        choice = body["choices"][0]
        text, finish = choice["message"]["content"], choice.get("finish_reason")
    except (ValueError, LookupError, TypeError, AttributeError):
        text, finish = None, None
    if not isinstance(text, str) or not text.strip():
        raise NotWritten(
            f"The server's answer holds no text: {answer.text[:300]}",
            where=where,
            next="Check that it speaks the OpenAI protocol, and that the model may answer.",
        )
    return Written(text.strip(), str(finish) if finish else None)


def ask_model(
    context: ModelContext,
    settings: Describe,
    asked: Mapping[Name, str],
    slots: int | None = None,
) -> dict[Name, Written]:
    """Have a model of the study answer prompts, always with its likeliest token.

    Args:
        asked: Layer and feature -> prompt.
        slots: Rows in flight where memory is short, or None.

    Raises:
        NotWritten: An answer is empty.
    """
    sampling = EngineSampling(temperature=0, max_new_tokens=settings.max_new_tokens)
    names = {f"L{layer}/F{feature}": (layer, feature) for layer, feature in asked}
    rows = [
        Request(name, tuple(context.loaded.encode(asked[feature])), name, sampling)
        for name, feature in names.items()
    ]
    config = EngineConfig(
        width=context.width_of(own_prompts=True),
        prompt_capacity=max(len(row.prompt) for row in rows),
        token_capacity=settings.max_new_tokens,
        slots=slots,
    )
    engine = context.engine(config)
    written = {names[g.key]: Written(g.text.strip(), g.finish) for g in engine.run(rows)}
    if empty := [name for name, feature in names.items() if not written[feature].text]:
        raise NotWritten(
            f"{context.loaded.spec.id} answers nothing about {empty[0]}.",
            where="describe",
            next="Choose another writer, such as a chat model.",
        )
    return written
