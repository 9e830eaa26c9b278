"""Rows in, generations out: schedule → run → collect, until no row is left.

The rows in flight can change in number between two steps: see `pitboss.engine.pressure`.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Literal

import torch

from pitboss.engine.architecture import architecture
from pitboss.engine.compiled import way_of
from pitboss.engine.flight import Ended, Flight
from pitboss.engine.forward import RotaryTable
from pitboss.engine.patches import Directions, check_patch
from pitboss.engine.precision import in_fp8
from pitboss.engine.prefix import BUCKET, PrefixStore
from pitboss.engine.pressure import (
    Pressure,
    errors_hold_nothing,
    finish,
    model_to_device,
    model_to_host,
    release,
    resize,
    sae_on,
)
from pitboss.engine.row import Generation, Row, check_row
from pitboss.engine.runner import Runner
from pitboss.engine.scheduler import Scheduler, slots_of_gangs
from pitboss.engine.stack import Stack
from pitboss.errors import BadInput, OutOfMemory
from pitboss.models.loading import LoadedModel
from pitboss.saes.loading import SaeLayer

# Slots that must be free before prompts of their own are prefilled together: enough to fill a
# prefill, few enough that the others do not wait.
_GATHER = 16

OnDone = Callable[[Row, Generation], Iterable[Row]]


class Engine:
    """Runs rows on one model on one device.

    Args:
        loaded: The model.
        seed: The study's seed, from which all noise is counted.
        width: Rows of every matrix product; part of what determines a result's last bits.
        slots: Rows in flight (default: `width` in every gang). Does not change results.
        gangs: Batches of `width` rows that take turns, so that the host reads and seats the rows of
            one while the device computes the other (default: 2 on CUDA when `slots` allow, else 1).
            Does not change results.
        prompt_capacity: Most tokens of any prompt; rounded up to whole prefill buckets.
        token_capacity: Most new tokens of any row.
        prefixes: How many prompts rows share at a time; None when each row has its own.
        lanes: Most patches of any row.
        capture_layers: Blocks whose output is returned for rows that ask for it.
        saes: Whole SAEs by layer, needed only by the reconstruct modes.
        keep_logits: Return every step's logits (for analysis and tests).
        precision: "fp8" for matrix products in 8 bits; None for the model's dtype.
        fast: True for compiled layers, own attention kernels and CUDA graphs (default where CUDA
            and Triton exist); False for the plain path, which is the reference. The default on a
            CPU is the plain path with attention in tiles.
        pressure: Asked before every step how many of the slots may be used. Does not change
            results: rows in flight begin again when the number changes.

    Attributes:
        slots: Rows in flight of each gang now; none while the model is away from the device.
        most: Rows in flight that the engine was made for.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        *,
        seed: int,
        width: int,
        prompt_capacity: int,
        token_capacity: int,
        slots: int | None = None,
        gangs: int | None = None,
        prefixes: int | None = None,
        lanes: int = 1,
        capture_layers: tuple[int, ...] = (),
        saes: Mapping[int, SaeLayer] | None = None,
        keep_logits: bool = False,
        precision: Literal["fp8"] | None = None,
        fast: bool | None = None,
        pressure: Pressure | None = None,
    ) -> None:
        self.loaded, self.saes, self.lanes = loaded, dict(saes or {}), lanes
        self.keep_logits, self.precision, self.pressure = keep_logits, precision, pressure
        self.seed, self.width, self.gangs = seed, width, gangs
        self.capture_layers = capture_layers
        self._settle()
        self.way = way_of(loaded.device, self.arch.head_dim, fast)
        self.fast = self.way == "compiled"
        # Prefill works in whole buckets, so that much room is there anyway.
        self.prompt_capacity = -(-prompt_capacity // BUCKET) * BUCKET
        self.token_capacity, self.prefixes = token_capacity, prefixes
        self.slots = slots_of_gangs(width, slots, gangs, self.fast)
        self.most = sum(self.slots)
        self.blocks, self.d_model = len(self.arch.blocks), self.arch.d_model
        for layer in capture_layers:
            if not 0 <= layer < self.blocks:
                raise BadInput(f"layer {layer} cannot be captured: {self.blocks} blocks")
        try:
            with errors_hold_nothing():
                self._build()
        except torch.OutOfMemoryError as error:
            raise self._out_of_memory(error) from error

    def _settle(self) -> None:
        """Have the model on its device, and a view on it."""
        model_to_device(self.loaded.model, self.loaded.device)
        self.saes = {layer: sae_on(self.loaded.device, sae) for layer, sae in self.saes.items()}
        self.arch = architecture(self.loaded.model)
        if self.precision == "fp8":
            self.arch = in_fp8(self.arch)

    def build(self, slots: int) -> None:
        """Take the memory for this many slots; bring the model back first if it is away.

        Raises:
            torch.OutOfMemoryError: They do not fit.
        """
        if not hasattr(self, "arch"):
            self._settle()
        gangs = None if self.gangs is None else min(self.gangs, slots)
        self.slots = slots_of_gangs(self.width, slots, gangs, self.fast)
        self._build()

    def drop(self) -> None:
        """Free everything but the weights."""
        finish(self.loaded.device)
        self.slots = []
        self.runners: list[Runner] = []
        self.__dict__.pop("prefix", None)
        release(self.loaded.device)

    def leave(self) -> None:
        """Move the weights to the host's memory; `drop` goes before."""
        self.__dict__.pop("arch", None)
        self.saes = {layer: sae_on(torch.device("cpu"), sae) for layer, sae in self.saes.items()}
        model_to_host(self.loaded.model, self.loaded.device)

    @torch.inference_mode()
    def _build(self) -> None:
        arch, device = self.arch, self.loaded.device
        like = arch.embed(torch.zeros(1, dtype=torch.int64, device=device)).clone()
        rotary = RotaryTable(arch, self.prompt_capacity + self.token_capacity, like)
        places = self.prefixes or sum(self.slots)
        self.prefix = PrefixStore(arch, rotary, places, self.prompt_capacity, like)
        directions = Directions(max(1, sum(self.slots) * self.lanes), arch.d_model, like.device)
        pool = torch.cuda.graph_pool_handle() if self.fast else None
        self.runners = [
            Runner(
                arch,
                Stack(
                    arch,
                    rotary,
                    self.prefix,
                    width=self.width,
                    slots=slots,
                    token_capacity=self.token_capacity,
                    shared=self.prefixes is not None,
                    way=self.way,
                ),
                directions,
                seed=self.seed,
                eos=self.loaded.eos_ids,
                lanes=self.lanes,
                capture_layers=self.capture_layers,
                saes=self.saes,
                keep_logits=self.keep_logits,
                pool=pool,
            )
            for slots in self.slots
        ]

    def run(self, rows: Iterable[Row], on_done: OnDone | None = None) -> list[Generation]:
        """Generate every row; `on_done` is told of each and may return further rows.

        Returns:
            Generations in the order in which they ended (those of `on_done` included), without the
            states that `on_done` was given.

        Raises:
            BadInput: A row does not fit the engine, or two rows have the same key.
            OutOfMemory: The device has no room; fewer slots may do.
        """
        flight = Flight(self.loaded, Scheduler(self.slots, self.prefixes, gather=_GATHER))
        keys: set[str] = set()
        flight.scheduler.submit(self._checked(rows, keys))
        done: list[Generation] = []

        def finish(ended: list[Ended]) -> None:
            for row, generation in flight.generations(ended):
                if on_done is not None:
                    flight.scheduler.submit(self._checked(on_done(row, generation), keys))
                    generation = replace(generation, states=None)  # on_done had them
                done.append(generation)

        try:
            with errors_hold_nothing():
                while flight.scheduler.busy:
                    if self._resized():
                        flight.restart(self.slots)
                    self._round(flight, finish, at_once=on_done is not None)
        except torch.OutOfMemoryError as error:
            raise self._out_of_memory(error) from error
        finally:
            self._clear(flight)
        return done

    def _round(self, flight: Flight, finish: Callable[[list[Ended]], None], at_once: bool) -> None:
        """One step of every gang.

        Only here and below are runners, prefixes and weights named: `run`, under which the engine
        waits for memory, must hold nothing that is to be given up.

        Args:
            finish: What is done with the rows that have ended.
            at_once: What follows from them may take their slots, if nothing else waits.
        """
        for gang, runner in enumerate(self.runners):
            ended = flight.collect(gang, runner) if gang in flight.computing else []
            if at_once and not flight.scheduler.waiting:
                finish(ended)
                ended = []
            self._launch(flight, gang)
            finish(ended)  # while the device computes

    def _clear(self, flight: Flight) -> None:
        """Forget the rows that are still in flight."""
        for gang, runner in enumerate(self.runners):
            for slot in list(flight.scheduler.seated[gang]):
                runner.clear(slot)

    def _resized(self) -> bool:
        """Whether the slots have changed, as the pressure wanted it."""
        if self.pressure is None:
            if self.runners:
                return False
            self.build(self.most)
            return True
        slots = sum(self.slots) if self.runners else 0
        allowed = min(self.pressure(slots), self.most)
        if self.runners and allowed == slots:
            return False
        resize(self, allowed, self.pressure)
        return True

    def _checked(self, rows: Iterable[Row], keys: set[str]) -> list[Row]:
        """The rows, if this engine can run them; their keys are added to `keys`."""
        rows = list(rows)
        for row in rows:
            if row.key in keys:
                raise BadInput("two rows have the same key", where=row.key)
            keys.add(row.key)
            check_row(row, self.prompt_capacity, self.token_capacity, self.lanes)
            for patch in row.patches:
                check_patch(patch, self.blocks, self.d_model, self.saes)
        return rows

    @torch.inference_mode()
    def _launch(self, flight: Flight, gang: int) -> None:
        """Seat waiting rows in a gang's free slots and start its next step."""
        admission = flight.admit(gang)
        if admission.prefill:
            self.prefix.fill(admission.prefill)
        for seat in admission.seats:
            self.runners[gang].seat(seat.slot, seat.row, seat.place)
        if flight.scheduler.seated[gang]:
            flight.computing.add(gang)
            self.runners[gang].launch()

    def _out_of_memory(self, error: torch.OutOfMemoryError) -> OutOfMemory:
        return OutOfMemory(
            f"the device ran out of memory with {sum(self.slots)} slots: {error}",
            where=str(self.loaded.device),
            next="the same rows may fit with fewer slots.",
        )
