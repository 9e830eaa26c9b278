"""Prefect's stored results, looked at before Prefect reads them.

A stored record names the serializer that reads it, and Prefect obeys the record, not the task: a
task that asks for JSON unpickles a record that says `pickle`, which runs whatever lies in it. A
record that says `json` may still name functions to call with what it holds. So a record is read
here first, as plain JSON, and refused unless it says exactly what our tasks write. The folder of
the records belongs to its owner alone (0700), so nothing changes them in between.
"""

import json
import os
from pathlib import Path
from typing import Any

from prefect.serializers import JSONSerializer

from pitboss.errors import BadInput

# Keys by which Prefect's JSON decoder makes objects of any class that can be imported.
OBJECT_KEYS = frozenset({"__class__", "__exc_type__"})
# What a record of ours says about its serializer: JSON, with Prefect's own defaults throughout.
PLAIN_JSON: dict[str, Any] = JSONSerializer().model_dump(mode="json")


def refuse_unless_json(key: str) -> None:
    """Refuse a stored result that Prefect would read with anything but plain JSON.

    A record that is cut off or no JSON is removed, so that no more lenient parser sees it; Prefect
    takes it as absent. It is only a reference to a part, and the part is in the study's store.

    Args:
        key: The result's cache key, a path below Prefect's storage folder.

    Raises:
        BadInput: The key leads out of the storage folder, or the record names another serializer
            or holds objects.
    """
    storage = _storage()
    path = (storage / key).resolve()
    if not path.is_relative_to(storage):
        raise BadInput(
            f"The stored result {key!r} lies outside Prefect's storage.",
            where=str(storage),
            next="Give the study a plain name, and check that no link leads out of the folder.",
        )
    try:
        record = _plain(path.read_bytes())
        _check_serializer(record, path)
        _check_payload(_plain(record["result"]), path)
    except FileNotFoundError:
        return
    except (ValueError, KeyError, TypeError, RecursionError):
        path.unlink()


def _storage() -> Path:
    from prefect.settings import PREFECT_LOCAL_STORAGE_PATH

    return Path(os.path.expanduser(PREFECT_LOCAL_STORAGE_PATH.value())).resolve()


def _plain(text: bytes | str) -> Any:
    """JSON in which no key occurs twice: which of two counts is up to each parser."""
    return json.loads(text, object_pairs_hook=_unique)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(found := dict(pairs)) < len(pairs):
        raise ValueError("a key occurs twice")
    return found


def _check_serializer(record: Any, path: Path) -> None:
    named = record["metadata"]["serializer"]
    # Prefect fills in what a record leaves out, so only what is there can differ.
    if (
        not isinstance(named, dict)
        or named.get("type") != "json"
        or PLAIN_JSON | named != PLAIN_JSON
    ):
        raise _refused(f"names the serializer {json.dumps(named)[:200]}, not plain JSON", path)


def _check_payload(payload: Any, path: Path) -> None:
    """Walk through the payload as JSON reads it: no key may ask for an object."""
    waiting = [payload]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            if asked := OBJECT_KEYS & value.keys():
                raise _refused(f"holds an object ({', '.join(sorted(asked))})", path)
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value


def _refused(what: str, path: Path) -> BadInput:
    return BadInput(
        f"A stored result {what}; it was not made by this house and is not read.",
        where=str(path),
        next="Find out who wrote it. Then remove the file: the work it stands for is in the "
        "study's store and is not repeated.",
    )
