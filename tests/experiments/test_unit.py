"""A unit's rows enter the store whole, as many as they must be, with what belongs beside them."""

from pathlib import Path

import pytest

from pitboss.errors import BadInput, Incomplete
from pitboss.experiments.runtime.unit import Outcome, Unit
from pitboss.store import Store
from tests.store.samples import identity, parquet_files, store, trial

NOTE = "note.json"


def _noted(here: Store) -> bool:
    try:
        return bool(here.read_json(NOTE) == {"of": 2})
    except BadInput:
        return False


def unit(rows: int | None) -> Unit:
    return Unit("asked", "asked", "trials", "llama/L01", identity(1), rows, intact=_noted)


OUTCOME = Outcome(
    {"trials": [trial(1, row) for row in range(2)]},
    {"device": "cpu"},
    beside=[lambda here: here.write_json(NOTE, {"of": 2})],
)


@pytest.mark.parametrize("rows", [1, 3])
def test_other_rows_than_a_part_must_have_are_not_stored(tmp_path: Path, rows: int) -> None:
    here = store(tmp_path)
    with pytest.raises(Incomplete, match=f"L01 of asked made 2 rows of trials, not {rows}"):
        unit(rows).complete(here, OUTCOME, began=0.0)
    assert not parquet_files(here) and not (here.path / NOTE).exists()


@pytest.mark.parametrize("rows", [2, None])
def test_what_lies_beside_a_part_is_made_again_where_it_is_lost(
    tmp_path: Path, rows: int | None
) -> None:
    here, mine = store(tmp_path), unit(rows)
    part = mine.complete(here, OUTCOME, began=0.0, worker="gpu-1")
    assert mine.ref(here) == part and part.rows == 2
    record = here.record("trials", mine.key)
    assert record is not None
    assert (record.facts["worker"], record.facts["device"]) == ("gpu-1", "cpu")
    (here.path / NOTE).unlink()
    assert mine.ref(here) is None
    assert mine.complete(here, OUTCOME, began=0.0) == part == mine.ref(here)
