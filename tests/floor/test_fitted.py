"""What fitted is remembered across processes, and more is tried again after a while."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pitboss.floor.memory.fitted import TRY_AFTER, Fitted


def well(fitted: Fitted, times: int) -> int:
    """So many chunks go well; returns the rows that come next."""
    for _ in range(times):
        fitted.went_well("patching", 64, fitted.slots("patching", 64))
    return fitted.slots("patching", 64)


def until_more(fitted: Fitted) -> int:
    """Chunks that have to go well before more rows are tried."""
    now = fitted.slots("patching", 64)
    for n in range(1, 200):
        if well(fitted, 1) != now:
            return n
    raise AssertionError("never")


@pytest.mark.parametrize("in_file", [True, False])
def test_half_of_what_was_too_much_is_kept_and_more_is_tried_ever_more_rarely(
    tmp_path: Path, in_file: bool
) -> None:
    fitted = Fitted(tmp_path / "state" / "fitted.json" if in_file else None, "H200", "llama")
    assert well(fitted, 99) == 64
    assert fitted.too_many("patching", 64, 64) == 32
    assert fitted.too_many("patching", 64, 32) == 16
    assert well(fitted, TRY_AFTER - 1) == 16 and well(fitted, 1) == 32
    waits = []
    for _ in range(6):
        assert fitted.too_many("patching", 64, 32) == 16
        waits.append(until_more(fitted))
    assert waits == [10, 20, 40, 80, 80, 80]
    assert well(fitted, 80) == 64 and well(fitted, 80) == 64  # the tenant has left for good
    assert fitted.too_many("patching", 64, 64) == 32 and until_more(fitted) == TRY_AFTER
    assert [fitted.too_many("patching", 64, 1) for _ in range(2)] == [1, 1]


def test_gpus_models_experiments_and_widths_are_known_apart(tmp_path: Path) -> None:
    path = tmp_path / "fitted.json"
    fitted = Fitted(path, "H200", "llama")
    fitted.too_many("patching", 64, 64)
    assert Fitted(path, "H200", "llama").slots("patching", 64) == 32
    for other, experiment, width in (
        (Fitted(path, "H100", "llama"), "patching", 64),
        (Fitted(path, "H200", "gemma"), "patching", 64),
        (fitted, "games", 64),
        (fitted, "patching", 128),
    ):
        assert other.slots(experiment, width) == width


def test_two_workers_that_fail_at_once_halve_once(tmp_path: Path) -> None:
    one, two = (Fitted(tmp_path / "fitted.json", "H200", "llama") for _ in range(2))
    assert [each.too_many("patching", 64, 64) for each in (one, two)] == [32, 32]


def test_workers_that_write_at_once_lose_nothing(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from pitboss.floor.memory.fitted import Fitted\n"
        "fitted = Fitted(Path(sys.argv[1]), 'H200', sys.argv[2])\n"
        "for n in range(50): fitted.too_many(f'e{n}', 64, 64)"
    )
    path = tmp_path / "fitted.json"
    workers = [subprocess.Popen([sys.executable, "-c", code, path, name]) for name in "abc"]
    assert [worker.wait() for worker in workers] == [0, 0, 0]
    assert len(json.loads(path.read_text())) == 150


def test_a_full_disk_stops_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fitted = Fitted(tmp_path / "fitted.json", "H200", "llama")
    fitted.too_many("patching", 64, 64)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.rename", full)
    assert fitted.too_many("patching", 64, 32) == 16
    assert well(fitted, 2) == 16
    assert Fitted(tmp_path / "fitted.json", "H200", "llama").slots("patching", 64) == 32


@pytest.mark.parametrize("text", ["", "\0", "{", "[]", '{"H200 | llama | patching | width 64": 3}'])
def test_a_damaged_file_is_as_good_as_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "fitted.json"
    path.write_text(text)
    fitted = Fitted(path, "H200", "llama")
    assert fitted.slots("patching", 64) == 64
    assert fitted.too_many("patching", 64, 64) == 32 == fitted.slots("patching", 64)
