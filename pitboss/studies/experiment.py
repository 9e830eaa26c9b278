"""What every experiment's section of a study file has, and how sections name each other."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, ClassVar, NamedTuple

from pydantic import Field

from pitboss.studies.fields import NAME_PATTERN, Section

if TYPE_CHECKING:
    from pitboss.studies.model import Study

Name = Annotated[str, Field(pattern=NAME_PATTERN, max_length=40)]
"""How a study calls one of its experiments; part of file names, run names and the page."""


class Reads(NamedTuple):
    """Marks a field that names another experiment of the study.

    Attributes:
        product: What is read from it, one of what its section says it `makes`.
    """

    product: str


class Reference(NamedTuple):
    """A field of a section that names another experiment."""

    field: str
    name: str
    product: str


Place = tuple[int | str, ...]
"""Keys of a study file, from the top down, with the numbers of items of lists."""


class Counted(NamedTuple):
    """By what rows the finished units of an experiment are counted.

    Attributes:
        table: The kind of table whose parts say how long they took.
        rows: Rows of it for one of what the experiment's workload counts as runs.
    """

    table: str
    rows: int = 1


class Problem(NamedTuple):
    """What is wrong with a study: where, and a sentence without its full stop."""

    place: Place
    what: str


class ExperimentSettings(Section):
    """One experiment of a study. A kind of experiment derives from this class.

    Class attributes:
        flow: Name of its flow and first half of its deployments' names.
        carried_out_by: Module and class, `module:Class`; imported when work begins.
        number: How the plan calls it, such as Exp0; empty where it does not.
        makes: What other experiments can read from it.
        elastic: Whether several workers share its units, joining and leaving as they may.
        own_prompts: Whether every response has a prompt of its own, so that fewer fit into memory.
        counted: What speeds are measured by; None where finished units say none.
    """

    kind: str
    """Which kind of experiment this is."""

    flow: ClassVar[str]
    carried_out_by: ClassVar[str]
    number: ClassVar[str] = ""
    makes: ClassVar[tuple[str, ...]] = ()
    elastic: ClassVar[bool] = False
    own_prompts: ClassVar[bool] = False
    counted: ClassVar[Counted | None] = None

    def references(self) -> Iterator[Reference]:
        """The experiments that this one reads, field by field."""
        for field, info in type(self).model_fields.items():
            for mark in info.metadata:
                value = getattr(self, field)
                if isinstance(mark, Reads) and value is not None:
                    yield Reference(field, value, mark.product)

    def aliases(self) -> list[str]:
        """The study's models that this section names itself, in its order."""
        one, several = getattr(self, "model", None), getattr(self, "models", None)
        return list(several or ([one] if one else []))

    def sae_layers(self, study: "Study") -> dict[str, list[int]]:
        """Layers whose SAEs are needed, by the study's name of the model."""
        return {}

    def problems(self, study: "Study", name: str) -> Iterator[Problem]:
        """What does not fit the rest of the study; only asked when all references hold."""
        yield from ()
