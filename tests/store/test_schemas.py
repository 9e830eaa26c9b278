"""Every kind describes itself, and tables of a kind are made from rows or frames alike."""

import numpy as np
import pandas as pd
import pytest

from pitboss.errors import BadInput
from pitboss.store import KINDS, SCHEMAS, schema_docs, table_of
from tests.store.samples import trial


def test_every_column_of_every_kind_is_documented_and_primary_columns_are_never_null() -> None:
    docs = schema_docs()
    for name, kind in KINDS.items():
        assert f"## {name}\n" in docs and kind.doc in docs
        fields = {field.name: field for field in SCHEMAS[name]}
        for field in fields.values():
            assert field.metadata[b"doc"].decode().endswith(".")
            assert f"| `{field.name}` | {field.type} |" in docs
        assert not any(fields[column].nullable for column in kind.primary)


def test_rows_and_frames_make_the_same_table() -> None:
    rows = [trial(1, 0), trial(1, 1, layer=None, feature=None, value=None, amount=None)]
    frame = pd.DataFrame(rows)
    assert frame["layer"].dtype == np.float64  # pandas turned the missing layer into NaN
    assert table_of("trials", frame).equals(table_of("trials", rows))


def test_absent_nullable_columns_are_null_and_others_are_asked_for() -> None:
    rows = [{k: v for k, v in trial(1, 0).items() if k not in ("layer", "amount")}]
    assert table_of("trials", rows).column("layer").to_pylist() == [None]
    for given in (rows[0] | {"colour": "red"}, {k: v for k, v in rows[0].items() if k != "arm"}):
        with pytest.raises(BadInput, match=r"colour|'arm' is missing"):
            table_of("trials", [given])
        with pytest.raises(BadInput, match=r"colour|'arm' is missing"):
            table_of("trials", pd.DataFrame([given]))
    with pytest.raises(BadInput, match="No table kind 'trails'"):
        table_of("trails", [])


def test_a_wrong_type_names_its_column() -> None:
    with pytest.raises(BadInput, match="column n_tokens of kind trials"):
        table_of("trials", [trial(1, 0, n_tokens="many")])
