"""The only code that touches a study's files: schemas, parts, manifest.

Start reading at `store.py`; `schemas.py` lists every table.
"""

from pitboss.store.coverage import Coverage
from pitboss.store.parts import PartRef, part_key
from pitboss.store.schemas import KINDS, SCHEMAS, schema_docs, table_of
from pitboss.store.store import Store
from pitboss.store.verification import Problem

__all__ = [
    "KINDS",
    "SCHEMAS",
    "Coverage",
    "PartRef",
    "Problem",
    "Store",
    "part_key",
    "schema_docs",
    "table_of",
]
