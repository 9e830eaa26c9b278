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
        others=[(name, file_of(name)) for name in _shown(reader) if name != reader.of_name],
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


def file_of(experiment: str | None) -> str:
    """Name of the page of the first experiments of their kinds, or of a further one."""
    return NAME if experiment is None else f"report-{experiment}.html"


def write(store: Store) -> Path:
    """Writes report.html into the study's folder, and a page for each further experiment.

    Returns:
        The path of report.html.
    """
    reader = Reader(store)
    for name in reader.further:
        store.write_bytes(file_of(name), page(Reader(store, name)).encode())
    return store.write_bytes(NAME, page(reader).encode())


def _shown(reader: Reader) -> list[str | None]:
    """The experiments that have pages of their own; None for the first ones."""
    return [None, *reader.further]


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
