"""The sections put into the templates, with scripts and styles inside: one file, no network."""

import base64
import hashlib
from pathlib import Path
from types import ModuleType
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from pitboss.report.page.book import Book, Section
from pitboss.report.page.data import script_json
from pitboss.report.page.phrases import told, told_if_known
from pitboss.report.page.sections import (
    betting,
    clamped_games,
    controls,
    coverage,
    declared,
    dose,
    effects,
    features,
    games,
    headline,
    pathway,
    ran,
    readers,
    screening,
    settings,
    words,
)
from pitboss.report.page.strings import LANGUAGES, named, said, texts
from pitboss.report.reader import Reader
from pitboss.store import Store

HERE = Path(__file__).parent
ASSETS = HERE / "assets"
NAME = "report.html"
SECTIONS: tuple[ModuleType, ...] = (
    headline, ran, effects, dose, controls, features, screening, pathway, words, games, betting,
    clamped_games, readers, coverage, declared, settings,
)  # fmt: skip
SCRIPTS = ("base.js", "plots.js", "figures.js", "games.js", "table.js", "card.js", "start.js")
LIBRARIES = ("d3.min.js", "plot.min.js")


def page(reader: Reader) -> str:
    """The whole report of a study; the same files of the study give the same bytes."""
    book = Book(reader)
    built: dict[str, Section | None] = {
        module.__name__.rpartition(".")[2]: module.build(book) for module in SECTIONS
    }
    there = [section for section in built.values() if section is not None]
    data: dict[str, Any] = {"strings": {language: texts(language) for language in LANGUAGES}}
    for section in there:
        data.update(section.data)
    script = "\n".join(_asset(name) for name in SCRIPTS)
    libraries = [_asset(f"vendor/{name}") for name in LIBRARIES]
    return _templates().get_template("page.html").render(
        study=reader.name,
        experiment=reader.of_name,
        others=[(names, _file_of(other)) for names, other in _pages(reader).items()
                if other.of_name != reader.of_name],
        models=sorted({choice["id"] for choice in reader.settings.get("models", {}).values()}),
        fingerprint=book.summary.get("fingerprint"),
        sections=there,
        absent=[name for name, section in built.items() if section is None],
        numbers=list(book.ledger.numbers.values()),
        blocks={name: Markup(script_json(value)) for name, value in data.items()},
        css=Markup(_asset("page.css")),
        script=Markup(script),
        libraries=[Markup(text) for text in libraries],
        policy=_policy([script, *libraries]),
    )  # fmt: skip


def write(store: Store) -> Path:
    """Writes report.html into the study's folder, and a page for what is seen of other experiments.

    Returns:
        The path of report.html.
    """
    first, *others = _pages(Reader(store)).values()
    for reader in others:
        store.write_bytes(_file_of(reader), page(reader).encode())
    return store.write_bytes(NAME, page(first).encode())


def _pages(reader: Reader) -> dict[str, Reader]:
    """What each page of the study shows, by the experiments that are not shown by report.html.

    Experiments that belong together, such as a patching and what its features come from, share a
    page, called by the last of them in the study file.
    """
    shared: dict[frozenset[str], tuple[list[str], Reader]] = {}
    for name in reader.further:
        other = Reader(reader.store, name)
        names, _ = shared.get(frozenset(other.chosen.values()), ([], other))
        shared[frozenset(other.chosen.values())] = [*names, name], other
    return {reader.name: Reader(reader.store)} | {
        ", ".join(names): other for names, other in shared.values()
    }


def _file_of(reader: Reader) -> str:
    return NAME if reader.of_name is None else f"report-{reader.of_name}.html"


def _templates() -> Environment:
    made = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals |= {"t": said, "named": named, "told": told, "told_if_known": told_if_known}
    made.globals["english"] = texts("en")
    return made


def _asset(name: str) -> str:
    return (ASSETS / name).read_text("utf-8")


def _policy(scripts: list[str]) -> str:
    """A content policy: nothing from outside, and no script but those made here.

    Responses are untrusted text. They are escaped; were one not, its script would have no hash.
    """
    hashes = " ".join(
        "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"
        for text in scripts
    )
    return f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src {hashes}"
