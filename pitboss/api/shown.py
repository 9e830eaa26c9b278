"""What an object looks like: one view of it for the terminal, a prompt and a notebook."""

import io
from functools import singledispatch

from rich.console import Console, RenderableType

WIDTH = 120


@singledispatch
def view(thing: object) -> RenderableType:
    """A thing as a person reads it; each kind of thing registers its own."""
    raise TypeError(f"Nobody says how {type(thing).__name__} is shown.")


class Shown:
    """Prints its view, in a notebook with colours."""

    def __repr__(self) -> str:
        console = _console()
        with console.capture() as caught:
            console.print(view(self))
        return "\n".join(line.rstrip() for line in caught.get().splitlines())

    def _repr_html_(self) -> str:
        console = _console(record=True)
        console.print(view(self))
        return console.export_html(
            inline_styles=True,
            code_format='<pre style="font-family: monospace; line-height: 1.2">{code}</pre>',
        )


def _console(*, record: bool = False) -> Console:
    return Console(
        file=io.StringIO(), width=WIDTH, color_system=None, force_terminal=False, record=record
    )
