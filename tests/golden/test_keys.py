"""No content key changes unawares: a changed key is work done again, and results that stand alone.

`keys.json` holds every key of three studies as they were before experiments became objects of their
own. Those of the demo are the 75 keys of a run that was carried out to its end. Here the keys are
made again without a model (see `walk`), in seconds, and compared. Where a change is meant to change
keys, write the file anew and say in CHANGELOG.md what has to be computed again.
"""

from pathlib import Path

import pytest

from pitboss.store.schemas import SCHEMAS
from tests.golden.walk import FILES, Keys, golden, keys_of


def differences(before: Keys, now: Keys) -> list[str]:
    """A line for each key that is gone or new; before its digest a key says what it is of."""
    lines = []
    for kind in sorted({*before, *now}):
        was, is_ = set(before.get(kind, [])), set(now.get(kind, []))
        lines += [f"{kind} {key} is gone" for key in sorted(was - is_)]
        lines += [f"{kind} {key} is new" for key in sorted(is_ - was)]
    return lines


@pytest.mark.parametrize("name", FILES)
def test_every_content_key_is_as_it_was(name: str, tmp_path: Path) -> None:
    assert differences(golden()[name], keys_of(name, tmp_path)) == []


def test_every_kind_of_part_of_an_experiment_has_keys_that_are_watched() -> None:
    watched = {kind for keys in golden().values() for kind in keys}
    assert watched == set(SCHEMAS)
