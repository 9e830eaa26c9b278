"""What stays resident on one device while a flow run lasts: the model and the SAEs in use."""

import weakref
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from pitboss.engine import Engine, EngineConfig, Sampling
from pitboss.engine.memory import CONTEXT, base_and_slot, fitting_slots, usable_bytes
from pitboss.engine.pressure import Pressure, model_to_device
from pitboss.errors import BadInput
from pitboss.floor.memory.guard import Footprint, Thresholds, admit
from pitboss.floor.memory.watcher import Watcher, nvml_headroom
from pitboss.games.prompts import render
from pitboss.models.checks import (
    Check,
    check_bos,
    check_hooks,
    check_memory,
    check_parameters,
    free_bytes,
    require,
)
from pitboss.models.loading import LoadedModel, load_model
from pitboss.saes.loading import Gate, SaeLayer, load_sae
from pitboss.studies.model import Study
from pitboss.studies.sampling import Sampling as SamplingSettings
from pitboss.studies.workload import longest_game_prompt

# Free besides the reserve before rows are added again: what a tenant's allocator takes at a time.
_MARGIN = 1_000_000_000


class ModelContext:
    """A loaded model of a study on one device.

    Attributes:
        width: Rows of every matrix product where rows share their prompts (see `width_of`).
        checks: What was verified before any work.
        kept: What experiments keep on the device from unit to unit; given up for an engine, and
            with the model when the device is left.

    Args:
        watcher: Keeps the engines inside the memory that others leave.
    """

    def __init__(
        self,
        study: Study,
        alias: str,
        loaded: LoadedModel,
        checks: list[Check],
        watcher: Watcher | None = None,
    ) -> None:
        self.study, self.alias, self.loaded, self.checks = study, alias, loaded, checks
        self.width = study.engine.width
        self._saes: OrderedDict[tuple[int, Gate], SaeLayer] = OrderedDict()
        self.kept: dict[str, Any] = {}
        self._states: tuple[Any, torch.Tensor] | None = None
        self._engine: tuple[EngineConfig, Engine] | None = None
        self._watcher = watcher
        if watcher is not None:
            weakref.finalize(self, watcher.stop)

    def width_of(self, *, own_prompts: bool) -> int:
        """Rows of every matrix product where rows have prompts of their own, or share some."""
        return self.study.engine.width_of(own_prompts=own_prompts)

    def engine(self, config: EngineConfig, saes: Mapping[int, SaeLayer] | None = None) -> Engine:
        """An engine on this model; the last one again where the same is asked for.

        Args:
            config: Without the precision, which is the study's. No slots, or as many as the width
                and more: as many as the engine takes by itself.
            saes: Whole SAEs by layer, for the reconstruct modes; such an engine is made anew.
        """
        asked = replace(
            config,
            slots=None if config.slots is None or config.slots >= config.width else config.slots,
            precision="fp8" if self.study.engine.precision == "fp8" else None,
        )
        if self._engine is not None and self._engine[0] == asked and saes is None:
            return self._engine[1]
        self.forget_engine()
        self.kept.clear()
        # It may have been away when the last run was given up.
        model_to_device(self.loaded.model, self.loaded.device)
        made = Engine(
            self.loaded,
            replace(asked, slots=self._slots(asked)),
            seed=self.study.seed,
            saes=saes,
            pressure=self._pressure(),
        )
        if self._watcher is not None:
            self._watcher.about(made.most, self._footprint(asked, made.most))
        if saes is None:
            self._engine = asked, made
        return made

    def guarded(self, most: int, footprint: Footprint) -> tuple[int, Pressure | None]:
        """How many slots of a job without an engine fit now, and what it asks from then on.

        Raises:
            BadInput: Not even one fits.
        """
        usable = self._usable()
        if usable is not None:
            fitting = footprint.most(usable - CONTEXT)
            if not fitting:
                least = footprint.bytes(1) + CONTEXT
                raise BadInput(
                    f"the job needs at least {least / 1e9:.1f} GB, {usable / 1e9:.1f} GB may be "
                    "used",
                    where=str(self.loaded.device),
                    next="wait for memory, or use another GPU.",
                )
            most = min(most, fitting)
        if self._watcher is not None:
            self._watcher.about(max(1, most), footprint)
        return most, self._pressure()

    def _slots(self, asked: EngineConfig) -> int | None:
        """Rows in flight: as asked for, and on a GPU no more than its memory allows."""
        usable = self._usable()
        if usable is None:
            return asked.slots
        spec, dtype = self.loaded.spec, self.loaded.dtype
        return fitting_slots(spec, asked, dtype, usable, self._sae_bytes())

    def _usable(self) -> int | None:
        """Bytes of a GPU that this process may hold now."""
        if self.loaded.device.type != "cuda":
            return None
        cap = self.study.engine.memory_gb
        reserve = int((self.study.engine.reserve_gb or 0) * 1e9)
        return usable_bytes(self.loaded.device, None if cap is None else int(cap * 1e9), reserve)

    def _sae_bytes(self) -> int:
        return sum(sae.W_enc.nbytes + sae.W_dec.nbytes for sae in self._saes.values())

    def _footprint(self, asked: EngineConfig, slots: int) -> Footprint:
        """What the memory model says of an engine, counted from what a parked one holds."""
        spec, dtype = self.loaded.spec, self.loaded.dtype
        return Footprint(*base_and_slot(spec, asked, dtype, slots, self._sae_bytes()))

    def _pressure(self) -> Pressure | None:
        """What the engine asks; before it leaves the device, whatever else is kept there goes."""
        watcher = self._watcher
        if watcher is None:
            return None
        saes, kept = self._saes, self.kept

        def pressure(slots: int) -> int:
            allowed = watcher(slots)
            if not allowed:
                saes.clear()
                kept.clear()
            return allowed

        return pressure

    def forget_engine(self) -> None:
        """Free the last engine's memory, which is mostly keys and values of its slots."""
        if self._engine is not None:
            self._engine[1].close()
            self._engine = None

    def sae(self, layer: int, gate: Gate, *, keep: bool = True) -> SaeLayer:
        """The SAE of one layer under a gate, on its device.

        Those to keep stay resident, as many as fit half of the free memory; the least recently
        used goes first.
        """
        if (layer, gate) in self._saes:
            self._saes.move_to_end((layer, gate))
            return self._saes[layer, gate]
        release = self.study.models[self.alias].sae
        made = load_sae(release, layer, gate, self.loaded.device)
        if not keep:
            return made
        size = made.W_enc.nbytes + made.W_dec.nbytes
        while self._saes and size > 0.5 * free_bytes(self.loaded.device):
            self._saes.popitem(last=False)
        self._saes[layer, gate] = made
        return made

    def remember_states(self, name: Any, states: torch.Tensor) -> None:
        """Keep the last captured residual streams, so that each layer's unit can use them."""
        self._states = (name, states)

    def forget_states(self) -> None:
        """Make room for other residual streams."""
        self._states = None

    def remembered_states(self, name: Any) -> torch.Tensor | None:
        """The residual streams remembered under this name, or None."""
        return self._states[1] if self._states is not None and self._states[0] == name else None

    def sampling(self, settings: SamplingSettings) -> Sampling:
        """A study's sampling, with the model's own top-p where the study leaves it open."""
        own = self.loaded.generation_defaults.get("top_p", 1.0)
        return Sampling(
            temperature=settings.temperature,
            top_k=settings.top_k,
            top_p=own if settings.top_p is None else settings.top_p,
            max_new_tokens=settings.max_new_tokens,
            min_new_tokens=settings.min_new_tokens,
        )

    def longest_game_prompt(self, prompt: str) -> int:
        """Tokens of a prompt with every component, a full history and seven-digit balances."""
        return len(self.loaded.encode(longest_game_prompt(prompt)))


def limit_memory(device: torch.device, gigabytes: float | None) -> None:
    """Let this process take at most so much of a GPU, whatever it asks for."""
    if device.type == "cuda" and gigabytes is not None:
        total = torch.cuda.get_device_properties(device).total_memory
        share = (gigabytes * 1e9 - CONTEXT) / total
        torch.cuda.set_per_process_memory_fraction(min(max(share, 0.0), 1.0), device)


def open_context(study: Study, alias: str, device: str) -> ModelContext:
    """Load a study's model on a device and check it before any work.

    Raises:
        BadInput: The model is unknown, its weights are missing, or a check fails.
    """
    size = study.spec(alias).n_params * (4 if study.engine.dtype == "float32" else 2)
    require([check_memory(device, size)])
    watcher = watch(torch.device(device), study, size)
    limit_memory(torch.device(device), study.engine.memory_gb)
    loaded = load_model(study.models[alias].id, device=device, dtype=study.engine.dtype)
    texts = [render(name).text for name in ("exp2/safe", "exp2/risky")]
    checks = [check_parameters(loaded), *check_hooks(loaded, texts[0]), check_bos(loaded, texts)]
    require(checks)
    return ModelContext(study, alias, loaded, checks, watcher)


def watch(device: torch.device, study: Study, weights: int) -> Watcher | None:
    """Admit a model of so many bytes beside a GPU's other tenants, and watch the memory from then.

    Returns:
        None where there is no GPU to share or the study leaves no reserve.

    Raises:
        BadInput: The model does not fit beside the others, or NVML does not show the GPU.
    """
    reserve_gb, memory_gb = study.engine.reserve_gb, study.engine.memory_gb
    if device.type != "cuda" or reserve_gb is None:
        return None
    reserve = int(reserve_gb * 1e9)
    headroom = nvml_headroom(str(torch.cuda.get_device_properties(device).uuid))
    cap = None if memory_gb is None else int(memory_gb * 1e9)
    admit(weights + CONTEXT, headroom(), reserve, cap)
    return Watcher(headroom, Thresholds(reserve=reserve, margin=max(reserve // 2, _MARGIN))).start()
