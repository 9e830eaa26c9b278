"""Which experiment makes which table and file: what an error names when one is not there."""

from pitboss.errors import Incomplete
from pitboss.store import KINDS, Store

MAKERS: dict[str, str] = {
    "games": "games",
    "decisions": "games",
    "sums": "features",
    "adjustments": "features",
    "statistics": "features",
    "features": "features",
    "activations": "pathway",
    "pathway": "pathway",
    "pathway_curve": "pathway",
    "decodability": "pathway",
    "lens": "pathway",
    "attribution": "pathway",
    "screening": "screening",
    "ranking": "screening",
    "trials": "patching",
    "effects": "effects, the campaign's step after patching",
    "findings": "effects, the campaign's step after patching",
    "words": "words",
    "tokens": "words",
    "contexts": "words",
    "descriptions": "words",
    "persistent": "persistent",
    "persistent_effects": "persistent",
    "persistent_contrasts": "persistent",
}
"""Kind of table -> experiment that makes it."""

DOCUMENTS: dict[str, tuple[str, str]] = {
    "summary": ("summary.json", "summary, the campaign's last step"),
    "declaration": ("declaration.json", "the beginning of patching"),
    "controls": ("controls.json", "effects, the campaign's step after patching"),
    "readers": ("readers.json", "effects, the campaign's step after patching"),
    "ladder": ("ladder.json", "effects, the campaign's step after patching"),
    "persistent_controls": ("persistent.json", "persistent"),
    "original": ("original.json", "effects, the campaign's step after patching"),
}
"""Name -> JSON file in the study's folder and what writes it."""


def maker(kind: str) -> str:
    """The experiment that makes a kind of table."""
    return MAKERS.get(kind, "a later step of the campaign")


def not_there(store: Store, name: str, made_by: str) -> Incomplete:
    """The error for a table or file that the study does not have (yet)."""
    found = [kind for kind in KINDS if (store.path / "records" / kind).is_dir()]
    return Incomplete(
        f"The study {store.manifest['name']} has no {name}: {made_by} makes it, and has not run "
        "to its end here.",
        where=str(store.path),
        next=f"Run it, or the whole campaign. There are: {', '.join(found) or 'no tables yet'}.",
    )
