"""A study's folder: its manifest says with which settings and libraries its results are made."""

from importlib.metadata import version
from pathlib import Path
from typing import Any

from pitboss import __version__
from pitboss.models.catalogue import sae_release
from pitboss.store import Store
from pitboss.studies.model import Study

_LIBRARIES = ("torch", "transformers", "sae-lens", "tokenizers", "numpy", "pyarrow")


def manifest(study: Study) -> dict[str, Any]:
    """Every setting that determines results; floor and memory do not."""
    models = {}
    for alias, choice in study.models.items():
        spec, release = study.spec(alias), sae_release(choice.sae)
        models[alias] = {
            "revision": spec.revision,
            "n_layers": spec.n_layers,
            "d_model": spec.d_model,
            "chat_template": spec.chat_template,
            "sae_release": release.release or release.id,
            "d_sae": release.d_sae,
        }
    return {
        **study.determining(),
        "resolved": models,
        "versions": {"pitboss": __version__, **{name: version(name) for name in _LIBRARIES}},
    }


def open_store(study: Study, results: Path) -> Store:
    """The study's folder below `results`, made if it does not exist.

    Raises:
        Mismatch: The folder was made with other settings or libraries; names the first one.
    """
    return Store.create(results, manifest(study))
