"""Building the lab, in order. Everything is seeded; one machine gives one result."""

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

import torch

from pitboss.lab import manifest
from pitboss.lab.models import Training, new_model, train
from pitboss.lab.saes import build_saes
from pitboss.lab.tokenizer import train_tokenizer
from pitboss.lab.transcripts import transcripts
from pitboss.models.catalogue import LAB_DIR, MODELS, SAE_RELEASES, ModelSpec
from pitboss.models.loading import LoadedModel, load_model

Report = Callable[[str], None]

LAB_MODELS = ("pitboss/lab-llama", "pitboss/lab-gemma")
_TOKENIZER_TEXTS, _TOKENIZER_SEED, _TEXT_SEED = 6000, 11, 1


def build(report: Report, *, keep_models: bool = False) -> None:
    """Builds everything under lab/.

    Args:
        report: Receives one line per step.
        keep_models: Use the language models that are there; build only what follows.
    """
    facts: dict[str, Any] = {"models": {}, "saes": {}, "versions": _versions()}
    if keep_models:
        facts["models"] = manifest.read(LAB_DIR)["models"]
    planted: dict[str, Any] = {}
    for model_id in LAB_MODELS:
        if not keep_models:
            facts["models"][model_id] = build_model(MODELS[model_id], report)
            manifest.write(LAB_DIR, facts)
    for release in (r for r in SAE_RELEASES.values() if r.trained_on in LAB_MODELS):
        measured, features = build_saes(release, load_model(release.trained_on), report)
        facts["saes"][release.id], planted[release.id] = measured, features
    (LAB_DIR / "planted.json").write_text(json.dumps(planted, indent=1) + "\n")
    manifest.write(LAB_DIR, facts)
    report(f"lab: {sum(f.stat().st_size for f in LAB_DIR.rglob('*') if f.is_file()) / 1e6:.1f} MB")


def build_model(spec: ModelSpec, report: Report) -> dict[str, Any]:
    """Trains one model, rounds it to bfloat16 and writes it; returns what was measured."""
    assert spec.local is not None
    settings = Training()
    tokenizer = train_tokenizer(spec, transcripts(_TOKENIZER_TEXTS, _TOKENIZER_SEED))
    model = new_model(spec, tokenizer, settings.seed)
    loaded = LoadedModel(
        spec, model, tokenizer, torch.device("cpu"), torch.float32, frozenset(), {}
    )
    texts = transcripts(settings.steps * settings.batch, _TEXT_SEED)
    started = time.monotonic()
    loss = train(loaded, texts, settings, report)
    seconds = time.monotonic() - started
    shutil.rmtree(spec.local, ignore_errors=True)
    model.bfloat16().save_pretrained(spec.local)
    tokenizer.save_pretrained(spec.local)
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "training": asdict(settings),
        "response_loss": round(loss, 4),
        "seconds": round(seconds),
    }


def _versions() -> dict[str, str]:
    return {name: version(name) for name in ("torch", "transformers", "sae-lens", "tokenizers")}
