"""Descriptions, asked of a real HTTP server that answers from what it was asked, and of a model."""

import json
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from pitboss.errors import PitbossError
from pitboss.experiments.registry import parse_study, plan_of
from pitboss.experiments.runtime.carry_out import carry_out
from pitboss.experiments.words import writers
from pitboss.experiments.words.experiment import Words
from pitboss.store import PartRef, Store
from pitboss.studies.model import Study
from tests.experiments.small import Whole, settings

KEY = "PITBOSS_TEST_WRITER_KEY"
SECRET = "a key that only the server may see"


class Writer(ThreadingHTTPServer):
    """Speaks the OpenAI protocol: says which tokens and how many places it was shown.

    Attributes:
        trouble: Answers to give first, as (status, body).
        asked: Every request: its path, its authorization, its body.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.trouble: list[tuple[int, str]] = []
        self.asked: list[tuple[str, str | None, dict[str, Any]]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class _Handler(BaseHTTPRequestHandler):
    server: Writer

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append((self.path, self.headers.get("Authorization"), body))
        status, answer = 200, answered(body["messages"][0]["content"])
        if self.server.trouble:
            status, answer = self.server.trouble.pop(0)
        self.send_response(status)
        self.end_headers()
        self.wfile.write(answer.encode())

    def log_message(self, *_: object) -> None: ...


def answered(prompt: str) -> str:
    [promoted] = [line for line in prompt.splitlines() if line.startswith("Tokens that")]
    text = f"{promoted.split(': ', 1)[1].split(', ')[0]} in {prompt.count('(activation ')} places"
    return json.dumps({"choices": [{"message": {"content": text}, "finish_reason": "stop"}]})


@pytest.fixture
def writer(monkeypatch: pytest.MonkeyPatch) -> Iterator[Writer]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(writers, "WAITS", (0.05, 0.05))
    server = Writer()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def copy(whole: Whole, tmp_path: Path) -> Store:
    return Store.open(shutil.copytree(whole.store.path, tmp_path / "small"))


def described(**describe: Any) -> Study:
    """The small study with a writer."""
    made = settings()
    made["experiments"]["words"]["describe"] = {"contexts": 2, "key_variable": KEY, **describe}
    return parse_study(made)


def words_of(store: Store, key: str = "", **describe: Any) -> Words:
    """The words of the small study with a writer, whose server's key is known."""
    found = plan_of(described(**describe), store, {KEY: key})["words"]
    assert isinstance(found, Words)
    return found


def ask(words: Words, layer: int = 0) -> PartRef:
    """Have one layer described, by a server."""
    return carry_out(words.plan, words.descriptions()[layer], no_model)


def no_model(alias: str) -> Any:
    raise AssertionError(f"{alias} is asked for, but a server writes")


def test_a_server_describes_every_causal_feature(writer: Writer, copy: Store) -> None:
    words = words_of(copy, SECRET, url=f"{writer.url}/", model="tiny")
    layers = range(len(words.descriptions()))
    for layer in layers:
        ask(words, layer)
    rows = copy.read("descriptions").to_pandas()
    assert list(zip(rows["layer"], rows["feature"], strict=True)) == words.causal
    tokens = copy.read("tokens").to_pandas()
    first = tokens[tokens["rank"] == 1].set_index(["layer", "feature"])["token"]
    for row in rows.itertuples():
        assert row.text == f"{first[row.layer, row.feature]!r} in 2 places"
        assert row.by == f"tiny at {writer.url}" and row.finish == "stop"
    assert len(writer.asked) == len(words.causal)
    assert {path for path, _, _ in writer.asked} == {"/v1/chat/completions"}
    assert {auth for _, auth, _ in writer.asked} == {f"Bearer {SECRET}"}
    assert {body["temperature"] for _, _, body in writer.asked} == {0}
    # Nothing is asked twice, and the key is nowhere among the results.
    for layer in layers:
        ask(words, layer)
    assert len(writer.asked) == len(words.causal)
    assert not any(SECRET.encode() in p.read_bytes() for p in copy.path.rglob("*") if p.is_file())


def test_a_busy_server_is_asked_again(writer: Writer, copy: Store) -> None:
    words = words_of(copy, url=writer.url, model="tiny")
    writer.trouble = [(503, "busy"), (429, "slower")]
    rows = ask(words).rows
    assert rows == words.descriptions()[0].rows
    assert len(writer.asked) == rows + 2
    assert {auth for _, auth, _ in writer.asked} == {None}


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        ([(401, "no key")], f"Set the environment variable {KEY}"),
        ([(404, "no such model")], "Check describe.url"),
        ([(500, "broken")] * 3, "500 broken"),
        ([(302, "elsewhere")], "302"),
        ([(200, "<html>")], "holds no text"),
        ([(200, '{"choices": [{"message": {"content": "  "}}]}')], "holds no text"),
        ([(200, '{"choices": []}')], "holds no text"),
    ],
)
def test_a_failure_is_an_error_and_never_a_text(
    writer: Writer, copy: Store, trouble: list[tuple[int, str]], said: str
) -> None:
    words = words_of(copy, url=writer.url, model="tiny")
    writer.trouble = list(trouble)
    with pytest.raises(writers.NotWritten, match="Where: http://127.0.0.1") as failed:
        ask(words)
    assert said in str(failed.value) and failed.value.next
    assert not copy.refs("descriptions")


def test_a_server_that_is_away_is_an_error(writer: Writer, copy: Store) -> None:
    words = words_of(copy, url="http://127.0.0.1:9/v1", model="tiny")
    with pytest.raises(writers.NotWritten, match="does not answer") as failed:
        ask(words)
    assert "Start it" in str(failed.value)


def test_a_model_of_the_study_describes_too(whole: Whole, copy: Store) -> None:
    words = words_of(copy, model="llama", max_new_tokens=12)
    unit = words.descriptions()[0]
    assert unit.model == "llama"
    try:
        carry_out(words.plan, unit, lambda alias: whole.context)
    except writers.NotWritten as error:
        assert "answers nothing" in str(error)  # and that is no text either
        return
    rows = copy.read("descriptions").to_pandas()
    assert set(rows["by"]) == {"pitboss/lab-llama"} and rows["text"].str.len().min() > 0


@pytest.mark.parametrize(
    ("describe", "said"),
    [
        ({"url": "http://example.org/v1", "model": "x"}, "https only"),
        ({"url": "ftp://example.org", "model": "x"}, "base URL"),
        ({"url": "https://me:secret@example.org/v1", "model": "x"}, "base URL"),
        ({"model": "qwen"}, "experiments.words.describe.model: .*'qwen'; it has llama"),
        ({"url": "https://example.org/v1"}, "model"),
    ],
)
def test_a_writer_that_cannot_be_is_refused(describe: dict[str, Any], said: str) -> None:
    with pytest.raises(PitbossError, match=said):
        described(**describe)
