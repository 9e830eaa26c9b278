"""Building the lab, in order. Everything is seeded; one machine gives one result."""

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from pitboss.models.catalogue import LAB_DIR, MODELS, SAE_RELEASES, ModelSpec
from pitboss.models.loading import LoadedModel, load_model
from training import manifest
from training.models import Training, new_model, train
from training.saes import build_saes
from training.tokenizer import train_tokenizer
from training.transcripts import transcripts

Report = Callable[[str], None]

# Gemma takes longer to learn which bets its balance allows.
TRAINING = {
    "pitboss/lab-llama": Training(),
    "pitboss/lab-gemma": Training(steps=1500, amount_weight=3.0),
}

PARTS = ("llama-model", "gemma-model", "llama-saes", "gemma-saes")
_TOKENIZER_TEXTS, _TOKENIZER_SEED, _TEXT_SEED = 6000, 11, 1


def build(parts: list[str], report: Report) -> None:
    """Builds the named parts in order; what other parts have left in lab/ stays.

    Args:
        parts: Some of PARTS; the SAEs need their model.
        report: Receives one line per step.
    """
    for part in parts:
        owner, _, what = part.partition("-")
        model_id = f"pitboss/lab-{owner}"
        if what == "model":
            _record(models={model_id: build_model(MODELS[model_id], report)})
        else:
            release = next(r for r in SAE_RELEASES.values() if r.trained_on == model_id)
            measured, planted = build_saes(release, load_model(model_id), report)
            _update(LAB_DIR / "planted.json", {release.id: planted})
            _record(saes={release.id: measured})
    size = sum(f.stat().st_size for f in LAB_DIR.rglob("*") if f.is_file())
    report(f"lab: {', '.join(parts)} done, {size / 1e6:.1f} MB in all")


def _record(**facts: dict[str, Any]) -> None:
    """Adds measured facts to the manifest and renews its hashes."""
    content = manifest.read(LAB_DIR) if (LAB_DIR / manifest.NAME).exists() else {}
    for section, entries in facts.items():
        content[section] = {**content.get(section, {}), **entries}
    manifest.write(LAB_DIR, {**content, "versions": _versions()})


def _update(path: Path, entries: dict[str, Any]) -> None:
    content = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({**content, **entries}, indent=1, sort_keys=True) + "\n")


def build_model(spec: ModelSpec, report: Report) -> dict[str, Any]:
    """Trains one model, rounds it to bfloat16 and writes it; returns what was measured."""
    assert spec.local is not None
    settings = TRAINING[spec.id]
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
