"""A stored result that would run code when Prefect reads it is refused before it does."""

import base64
import json
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
from prefect import flow, task
from prefect.settings import PREFECT_LOCAL_STORAGE_PATH, temporary_settings

from pitboss.errors import BadInput
from tasks.records import refuse_unless_json
from tests.conftest import Server

KEY = "study/trials/0a/chunk"


class Payload:
    """Leaves a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.makedirs, (str(self.mark), 0o700, True)


@task(cache_key_fn=lambda context, parameters: KEY, persist_result=True, result_serializer="json")
def part() -> dict[str, Any]:
    return {"path": "parts/x.parquet", "rows": 3}


@flow(persist_result=False)
def checked() -> dict[str, Any]:
    refuse_unless_json(KEY)
    return part()


@flow(persist_result=False)
def unchecked() -> Any:
    return part()


@pytest.fixture
def record(prefect_api: Server, tmp_path: Path) -> Path:
    """A record as Prefect itself writes it."""
    assert checked() == {"path": "parts/x.parquet", "rows": 3}
    assert checked() == {"path": "parts/x.parquet", "rows": 3}  # our own records pass
    return tmp_path / "cache" / KEY


def rewrite(record: Path, serializer: dict[str, Any], result: str | None = None) -> None:
    content = json.loads(record.read_text())
    content["metadata"]["serializer"] = serializer
    content["result"] = result if result is not None else content["result"]
    record.write_text(json.dumps(content))


def test_a_pickle_in_a_record_does_not_run(record: Path, tmp_path: Path) -> None:
    mark = tmp_path / "it ran"
    rewrite(record, {"type": "pickle"}, base64.b64encode(pickle.dumps(Payload(mark))).decode())
    with pytest.raises(BadInput, match="serializer.*pickle.*not plain JSON"):
        checked()
    assert not mark.exists()
    unchecked()  # the payload is a real one: Prefect alone runs it
    assert mark.exists()


@pytest.fixture
def stored(tmp_path: Path) -> Any:
    """Writes a record by hand; no server needed."""
    path = tmp_path / "cache" / KEY
    path.parent.mkdir(parents=True)

    def write(serializer: Any, result: str = '{"rows": 3}') -> Path:
        path.write_text(json.dumps({"metadata": {"serializer": serializer}, "result": result}))
        return path

    with temporary_settings(updates={PREFECT_LOCAL_STORAGE_PATH: str(tmp_path / "cache")}):
        yield write


@pytest.mark.parametrize(
    "serializer",
    [
        {"type": "pickle"},
        {"type": "cloudpickle"},
        {"type": "compressed/pickle"},
        {"type": "json", "object_decoder": "os.system"},
        {"type": "json", "jsonlib": "pickle"},
        {"type": "json", "loads_kwargs": {"cls": "x"}},
        {"type": "json", "more": 1},
        "json",
        None,
    ],
)
def test_any_other_serializer_is_refused(stored: Any, serializer: Any) -> None:
    stored(serializer)
    with pytest.raises(BadInput, match=r"not plain JSON.*Next: Find out who wrote it"):
        refuse_unless_json(KEY)


@pytest.mark.parametrize(
    "asked", ['{"__class__": "x.Y", "data": 1}', '[{"a": {"__exc_type__": 1}}]']
)
def test_json_that_asks_for_objects_is_refused(stored: Any, asked: str) -> None:
    stored({"type": "json"}, asked)
    with pytest.raises(BadInput, match="holds an object"):
        refuse_unless_json(KEY)


def test_what_is_plain_passes_and_what_is_damaged_is_gone(stored: Any) -> None:
    path = stored({"type": "json"})
    refuse_unless_json(KEY)
    whole = path.read_text()
    for damaged in (whole[:-9], "", "[]", "{" + whole[1:-1] + ', "metadata": {}}', "9" * 5000):
        path.write_text(damaged)
        refuse_unless_json(KEY)
        assert not path.exists()
    refuse_unless_json(KEY)


def test_a_key_cannot_lead_out_of_the_storage(stored: Any, tmp_path: Path) -> None:
    stored({"type": "json"})
    (tmp_path / "cache" / "link").symlink_to(tmp_path)
    for key in ("../outside", "/etc/hostname", "link/outside"):
        with pytest.raises(BadInput, match="outside Prefect's storage"):
            refuse_unless_json(key)
