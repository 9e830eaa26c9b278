"""Rows in, generations out: schedule → run → collect, until no row is left.

The rows in flight can change in number between two steps: see `pitboss.engine.pressure`.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

import torch

from pitboss.engine.architecture import architecture
from pitboss.engine.compiled import way_of
from pitboss.engine.config import EngineConfig
from pitboss.engine.flight import Ended, Flight
from pitboss.engine.patches import check_patch
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
from pitboss.engine.scheduler import Scheduler
from pitboss.engine.state import Closed, Parked, Running, State
from pitboss.errors import BadInput, OutOfMemory, PitbossError
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
        config: How large the engine is.
        seed: The study's seed, from which all noise is counted.
        saes: Whole SAEs by layer, needed only by the reconstruct modes.
        pressure: Asked before every step how many of the slots may be used. Does not change
            results: rows in flight begin again when the number changes.

    Attributes:
        state: Running, parked or closed; what is on the device hangs on it alone.
        most: Rows in flight that the engine was made for.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        config: EngineConfig,
        *,
        seed: int,
        saes: Mapping[int, SaeLayer] | None = None,
        pressure: Pressure | None = None,
    ) -> None:
        self.loaded, self.config, self.seed, self.pressure = loaded, config, seed, pressure
        self.saes = dict(saes or {})
        model_to_device(loaded.model, loaded.device)
        arch = architecture(loaded.model)
        self.way = way_of(loaded.device, arch.head_dim, config.fast)
        self.blocks, self.d_model = len(arch.blocks), arch.d_model
        for layer in config.capture_layers:
            if not 0 <= layer < self.blocks:
                raise BadInput(f"layer {layer} cannot be captured: {self.blocks} blocks")
        self.most = sum(config.micro_batch_slots(self.way == "compiled"))
        self.state: State = Parked()
        try:
            with errors_hold_nothing():
                self.build(self.most)
        except torch.OutOfMemoryError as error:
            raise self._out_of_memory(error) from error

    @property
    def slots(self) -> list[int]:
        """Rows in flight of each micro-batch; none while the engine is not running."""
        return self.state.slots if isinstance(self.state, Running) else []

    def build(self, slots: int) -> None:
        """Run with so many slots, from now on; the model comes back first if it is away.

        Raises:
            torch.OutOfMemoryError: They do not fit.
        """
        device = self.loaded.device
        model_to_device(self.loaded.model, device)
        self.saes = {layer: sae_on(device, sae) for layer, sae in self.saes.items()}
        self.state = Running(self.loaded, self.config, slots, self.way, self.seed, self.saes)

    def drop(self) -> None:
        """Park: free everything but the weights."""
        finish(self.loaded.device)
        self.state = Parked()
        release(self.loaded.device)

    def leave(self) -> None:
        """Move the weights of a parked engine to the host's memory."""
        self.saes = {layer: sae_on(torch.device("cpu"), sae) for layer, sae in self.saes.items()}
        model_to_host(self.loaded.model, self.loaded.device)

    def close(self) -> None:
        """Free everything but the model, which is not the engine's, for good."""
        self.saes = {}
        self.drop()
        self.state = Closed()

    def run(self, rows: Iterable[Row], on_done: OnDone | None = None) -> list[Generation]:
        """Generate every row; `on_done` is told of each and may return further rows.

        Returns:
            Generations in the order in which they ended (those of `on_done` included), without the
            states that `on_done` was given.

        Raises:
            BadInput: A row does not fit the engine, or two rows have the same key.
            OutOfMemory: The device has no room; fewer slots may do.
            PitbossError: The engine is closed.
        """
        if isinstance(self.state, Closed):
            raise PitbossError("the engine is closed", next="make another one for these rows.")
        flight = Flight(self.loaded, Scheduler(self.slots, self.config.prefixes, gather=_GATHER))
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
        for gang, runner in enumerate(self._running().runners):
            ended = flight.collect(gang, runner) if gang in flight.computing else []
            if at_once and not flight.scheduler.waiting:
                finish(ended)
                ended = []
            self._launch(flight, gang)
            finish(ended)  # while the device computes

    def _clear(self, flight: Flight) -> None:
        """Forget the rows that are still in flight."""
        if isinstance(self.state, Running):
            for gang, runner in enumerate(self.state.runners):
                for slot in list(flight.scheduler.seated[gang]):
                    runner.clear(slot)

    def _running(self) -> Running:
        assert isinstance(self.state, Running)  # `run` asks before every round
        return self.state

    def _resized(self) -> bool:
        """Whether the slots have changed, as the pressure wanted it."""
        running = isinstance(self.state, Running)
        if self.pressure is None:
            if not running:
                self.build(self.most)
            return not running
        slots = sum(self.slots)
        allowed = min(self.pressure(slots), self.most)
        if running and allowed == slots:
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
            check_row(row, self.config)
            for patch in row.patches:
                check_patch(patch, self.blocks, self.d_model, self.saes)
        return rows

    @torch.inference_mode()
    def _launch(self, flight: Flight, gang: int) -> None:
        """Seat waiting rows in a gang's free slots and start its next step."""
        running, admission = self._running(), flight.admit(gang)
        if admission.prefill:
            running.prefix.fill(admission.prefill)
        for seat in admission.seats:
            running.runners[gang].seat(seat.slot, seat.row, seat.place)
        if flight.scheduler.seated[gang]:
            flight.computing.add(gang)
            running.runners[gang].launch()

    def _out_of_memory(self, error: torch.OutOfMemoryError) -> OutOfMemory:
        return OutOfMemory(
            f"the device ran out of memory with {sum(self.slots) or self.most} slots: {error}",
            where=str(self.loaded.device),
            next="the same rows may fit with fewer slots.",
        )
