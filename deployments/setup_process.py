"""`deployments.setup` as `up` runs it: a process beside the server, heard line by line."""

import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self

from deployments.settings import House
from pitboss.errors import Incomplete

WHEN_TOLD = "--when-told"


class Setup:
    """The process. It talks to no server before `begin`, and ends with the `with` block.

    Args:
        steps: What is to be done, in this order.
    """

    def __init__(self, env: Mapping[str, str], place: House, steps: Sequence[str]) -> None:
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  closed with the block
        self._process = subprocess.Popen(
            [sys.executable, "-m", "deployments.setup", WHEN_TOLD, *steps],
            env=env,
            cwd=place.root,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )

    def begin(self) -> None:
        """Go on: the server that answers is the right one. What has failed is said by `next`."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            print(file=self._process.stdin, flush=True)

    def next(self) -> str:
        """Wait for the next step and return what was done.

        Raises:
            Incomplete: It failed; the message is what the process said.
        """
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            self._errors.seek(0)
            raise Incomplete(
                self._errors.read().strip() or f"It ended with {self._process.returncode}.",
                next="`make up` goes on from here when repeated.",
            )
        return line.partition("\t")[2].strip()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            self._process.kill()
        self._process.communicate()
        self._errors.close()
