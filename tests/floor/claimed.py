"""Units whose rows follow from their numbers, for tests of claims; it needs no test library."""

from dataclasses import dataclass

from pitboss.store import PartRef, Store
from tests.store.samples import key

UNITS = 24


@dataclass(frozen=True)
class Sample:
    """A unit whose rows follow from its number."""

    number: int

    @property
    def key(self) -> str:
        return key(self.number)

    def ref(self, here: Store) -> PartRef | None:
        return here.ref("trials", self.key)


def samples(count: int = UNITS) -> list[Sample]:
    return [Sample(number) for number in range(count)]


def files(here: Store) -> dict[str, bytes]:
    return {
        path.relative_to(here.path).as_posix(): path.read_bytes()
        for path in here.path.rglob("*.parquet")
    }
