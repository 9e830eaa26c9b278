"""Section `precision`: what 8-bit products do to decisions, beside what bfloat16 does to them.

The same rows run in float32, in bfloat16 and in fp8, on the plain path, so that nothing but the
number format differs: screened (the log-odds of a stop against a bet under each patch) and sampled
with the same noise. Patches add random directions of several sizes to the residual stream. The
shipped models are asked the study's scenes, and their texts are read as a study reads them; random
weights know no scene, so random tokens stand for the choices and only first tokens are compared.
"""

import copy
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch

from bench.clock import rounded, synchronise
from bench.differences import Floats, Measured, difference, p_stop
from bench.guard import free, recorded
from bench.programs.base import Unavailable
from bench.screening import STAND_IN_CHOICES
from bench.settings import Settings
from bench.shapes import SHAPES
from bench.work import TEMPERATURE, TOP_K, TOP_P, prompts_of
from pitboss.engine import Engine, EngineConfig, Generation, Patch, Request, Sampling
from pitboss.engine.screening import Screen
from pitboss.errors import BadInput
from pitboss.experiments.runtime.choices import choice_tokens
from pitboss.games.prompts import Prompt, render
from pitboss.games.reading import reader
from pitboss.models.loading import LoadedModel

_SCENES = ("exp2/safe", "exp2/risky")
_READER = "menu"
# Lengths of the added directions, in lengths of the residual stream they are added to.
_SIZES = (0.05, 0.1, 0.2, 0.4)
_DIRECTIONS = 32  # of each layer
_LAYERS = 8  # at most, evenly spread
_RESPONSE = 24  # tokens, as the shipped models' study has it
_WIDTH = 256

Products = Literal["fp8"] | None

_FORMATS: dict[str, tuple[torch.dtype, Products]] = {
    "float32": (torch.float32, None),
    "bfloat16": (torch.bfloat16, None),
    "fp8": (torch.bfloat16, "fp8"),
}
_PAIRS = (("fp8", "bfloat16"), ("bfloat16", "float32"), ("fp8", "float32"))


@dataclass(frozen=True)
class Work:
    """What is computed in every format.

    Attributes:
        scenes: What the prompts are; None for random tokens.
        directions: float32 [layers, directions, d_model], of length 1.
        lengths: float32 [layers, prompts] of the unpatched stream at a prompt's last token.
        new_tokens: Of every sampled row.
    """

    prompts: list[tuple[int, ...]]
    scenes: list[Prompt] | None
    choices: dict[str, Any]
    layers: list[int]
    directions: torch.Tensor
    lengths: torch.Tensor
    rows: int
    new_tokens: int

    def patch(self, i: int) -> tuple[int, Patch]:
        """The i-th patch: its prompt, and a fixed multiple of a direction that is added."""
        prompt, i = i % len(self.prompts), i // len(self.prompts)
        layer, i = i % len(self.layers), i // len(self.layers)
        direction, size = i % self.directions.shape[1], _SIZES[i % len(_SIZES)]
        dec = self.directions[layer, direction]
        value = size * float(self.lengths[layer, prompt])
        # An encoder of zeros never fires: the whole value is added.
        enc = torch.zeros_like(dec)
        return prompt, Patch(self.layers[layer], direction, enc, 0.0, 1.0, 0.0, 0.0, dec, value)


def precision(loaded: LoadedModel, settings: Settings) -> dict[str, Any]:
    """Every format that runs here against the others; of one that does not, the reason."""
    work = work_of(loaded, settings)
    found: dict[str, Measured] = {}
    ran: dict[str, Any] = {}
    for name in _FORMATS:
        with recorded(ran, name):
            synchronise(loaded.device)
            began = time.perf_counter()
            found[name] = measured(loaded, name, work)
            ran[name] = {"seconds": rounded(time.perf_counter() - began)}
            ran[name] |= {"unpatched_p_stop": np.round(p_stop(found[name].clean), 4).tolist()}
        free()
    return {
        "weights": "shipped" if work.scenes else "random",
        "layers": work.layers,
        "screened_patches": int(np.prod(work.directions.shape[:2])) * len(_SIZES),
        "sizes_of_the_stream": list(_SIZES),
        "sampled_rows": work.rows,
        "formats": ran,
        "differences": {
            f"{ours} against {theirs}": difference(found[ours], found[theirs])
            for ours, theirs in _PAIRS
            if ours in found and theirs in found
        },
        "failed": "bfloat16" not in found,
    }


def work_of(loaded: LoadedModel, settings: Settings) -> Work:
    """Prompts, patches and rows; the streams' lengths are those of the model as it is given."""
    trained = SHAPES[settings.shape].config is None
    scenes = [render(name) for name in _SCENES] if trained else None
    if scenes is None:
        prompts, choices = prompts_of(loaded, 2, settings.prompt_tokens), STAND_IN_CHOICES
    else:
        prompts = [tuple(loaded.encode(scene.text)) for scene in scenes]
        choices = choice_tokens(loaded, scenes)
    n = loaded.spec.n_layers
    layers = sorted({round(i) for i in np.linspace(0, n - 1, min(n, _LAYERS))})
    screen = Screen(loaded, width=_WIDTH, prompts=prompts, choices=choices, mass=False, fast=False)
    lengths = torch.stack([screen.clean(layer).float().norm(dim=-1) for layer in layers])
    generator = torch.Generator().manual_seed(5)
    shape = len(layers), _DIRECTIONS, loaded.spec.d_model
    directions = torch.randn(shape, generator=generator).to(loaded.device)
    return Work(
        prompts=prompts,
        scenes=scenes,
        choices=choices,
        layers=layers,
        directions=directions / directions.norm(dim=-1, keepdim=True),
        lengths=lengths.cpu(),
        rows=settings.width if scenes is None else 4 * settings.width,
        new_tokens=1 if scenes is None else _RESPONSE,
    )


def measured(loaded: LoadedModel, name: str, work: Work) -> Measured:
    """The work in one format.

    Raises:
        Unavailable: The device has no such products.
    """
    dtype, products = _FORMATS[name]
    model = loaded.model
    if loaded.dtype != dtype:
        model = copy.deepcopy(model).to(dtype)  # type: ignore[arg-type]
    held = replace(loaded, model=model, dtype=dtype)
    try:
        clean, patched = _screened(held, products, work)
        free()
        made = _sampled(held, products, work)
    except BadInput as reason:
        raise Unavailable(str(reason)) from reason
    logits = [g.logits[0] for g in made if g.logits is not None]
    decisions = None if work.scenes is None else list(_decisions(made, work.scenes))
    first = [g.tokens[:1] for g in made]  # nothing where the first token is the end
    return Measured(clean, patched, torch.stack(logits).float().cpu(), first, decisions)


def _screened(loaded: LoadedModel, products: Products, work: Work) -> tuple[Floats, Floats]:
    """Log-odds of a stop: [prompts] unpatched and [prompts, patches]."""
    screen = Screen(
        loaded,
        width=_WIDTH,
        prompts=work.prompts,
        choices=work.choices,
        mass=False,
        precision=products,
        fast=False,
    )
    sizes = torch.tensor(_SIZES)[None, :, None].expand(len(work.prompts), -1, _DIRECTIONS)
    patched = []
    for layer, directions, lengths in zip(work.layers, work.directions, work.lengths, strict=True):
        found = screen.run(layer, directions, sizes * lengths[:, None, None])
        patched.append(found.decisions.log_odds("stop", "bet").reshape(len(work.prompts), -1))
    return screen.unpatched.log_odds("stop", "bet"), np.concatenate(patched, axis=1)


def _sampled(loaded: LoadedModel, products: Products, work: Work) -> list[Generation]:
    """The rows sampled with their noise, in their order."""
    if work.scenes is not None:
        # The benchmark's models never end; a study's response does.
        end: Any = loaded.tokenizer.eos_token_id
        loaded = replace(loaded, eos_ids=frozenset({end}))
    config = EngineConfig(
        width=_WIDTH,
        prompt_capacity=max(map(len, work.prompts)),
        token_capacity=work.new_tokens,
        prefixes=len(work.prompts),
        keep_logits=True,
        precision=products,
        fast=False,
    )
    engine = Engine(loaded, config, seed=1)
    sampling = Sampling(TEMPERATURE, TOP_K, TOP_P, work.new_tokens)
    rows = []
    for i in range(work.rows):
        prompt, patch = work.patch(i)
        rows.append(Request(f"{i:06}", work.prompts[prompt], f"{i}", sampling, (patch,)))
    return sorted(engine.run(rows), key=lambda generation: generation.key)


def _decisions(made: list[Generation], scenes: list[Prompt]) -> Iterator[str]:
    read = reader(_READER)
    for i, generation in enumerate(made):
        menu = scenes[i % len(scenes)].menu
        yield read.read(generation.text, menu, generation.finish).decision
