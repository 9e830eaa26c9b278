"""Pitboss: experiments on gambling behaviour inside language models, on a shared floor of GPUs.

`pitboss.open("demo")` opens a study's results; importing this package loads nothing heavy.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"


def open(study: str, results: Any = None) -> Any:
    """Open a study's results for reading: a `pitboss.api.Results`.

    Args:
        study: The study's name, such as demo.
        results: Folder of all results; PITBOSS_RESULTS or `results` of the repository if None.

    Raises:
        BadInput: There is no such study, or it lies outside the results.
    """
    return _api().open_results(study, results)


def compare(a: str, b: str, results: Any = None) -> Any:
    """Compare two studies by their names: a `pitboss.api.Comparison`."""
    return _api().compare(open(a, results), open(b, results))


def _api() -> Any:
    # By name: everything below imports this package, and must not import what is on top of it.
    return import_module("pitboss.api")
