"""Which kind of experiment makes which table and file: what an error names when one is not there.

A study's folder can be read without the experiments' code, so this stands here as data; a test
holds it against what the experiments' units say.
"""

from typing import NamedTuple

_TABLES = {
    "games": "games decisions",
    "selection": "sums adjustments statistics features",
    "pathway": "activations pathway pathway_curve decodability lens attribution",
    "screening": "screening ranking",
    "patching": "trials effects findings",
    "words": "words tokens contexts descriptions",
    "clamped_games": "persistent persistent_effects persistent_contrasts",
}
MAKERS = {table: kind for kind, tables in _TABLES.items() for table in tables.split()}
"""Kind of table -> kind of experiment that makes it first."""


class Document(NamedTuple):
    """A JSON file in the study's folder, and the kind of experiment it is of; empty: of all."""

    file: str
    kind: str = ""


DOCUMENTS = {
    "summary": Document("summary.json"),
    **{
        name: Document(f"{name}.json", "patching")
        for name in ("declaration", "controls", "readers", "ladder", "original")
    },
    "persistent_controls": Document("persistent.json", "clamped_games"),
}
