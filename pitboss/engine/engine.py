"""Requests in, generations out: schedule → run → collect, until no request is left.

Those in flight can change in number between two steps: see `pitboss.engine.pressure`.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

import torch

from pitboss.engine.architecture import architecture
from pitboss.engine.compiled import way_of
from pitboss.engine.config import EngineConfig
from pitboss.engine.in_flight import Ended, InFlight
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
from pitboss.engine.request import Generation, Request, check_request
from pitboss.engine.scheduler import Scheduler
from pitboss.engine.state import Closed, Parked, Running, State
from pitboss.errors import BadInput, OutOfMemory, PitbossError
from pitboss.models.loading import LoadedModel
from pitboss.saes.loading import SaeLayer

# Slots that must be free before prompts of their own are prefilled together: enough to fill a
# prefill, few enough that the others do not wait.
_GATHER = 16

OnDone = Callable[[Request, Generation], Iterable[Request]]


class Engine:
    """Runs requests on one model on one device.

    Args:
        loaded: The model.
        config: How large the engine is.
        seed: The study's seed, from which all noise is counted.
        saes: Whole SAEs by layer, needed only by the reconstruct modes.
        pressure: Asked before every step how many of the slots may be used. Does not change
            results: requests in flight begin again when the number changes.

    Attributes:
        state: Running, parked or closed; what is on the device hangs on it alone.
        most: Requests in flight that the engine was made for.
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
        """Requests in flight of each micro-batch; none while the engine is not running."""
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

    def run(self, requests: Iterable[Request], on_done: OnDone | None = None) -> list[Generation]:
        """Generate for every request; `on_done` is told of each and may return further ones.

        Returns:
            Generations in the order in which they ended (those of `on_done` included), without the
            states that `on_done` was given.

        Raises:
            BadInput: A request does not fit the engine, or two have the same key.
            OutOfMemory: The device has no room; fewer slots may do.
            PitbossError: The engine is closed.
        """
        if isinstance(self.state, Closed):
            raise PitbossError("the engine is closed", next="make another one for these requests.")
        scheduler = Scheduler(self.slots, self.config.prefixes, gather=_GATHER)
        in_flight = InFlight(self.loaded, scheduler)
        keys: set[str] = set()
        in_flight.scheduler.submit(self._checked(requests, keys))
        done: list[Generation] = []

        def finish(ended: list[Ended]) -> None:
            for request, generation in in_flight.generations(ended):
                if on_done is not None:
                    following = self._checked(on_done(request, generation), keys)
                    in_flight.scheduler.submit(following)
                    generation = replace(generation, states=None)  # on_done had them
                done.append(generation)

        try:
            with errors_hold_nothing():
                while in_flight.scheduler.busy:
                    if self._resized():
                        in_flight.restart(self.slots)
                    self._round(in_flight, finish, at_once=on_done is not None)
        except torch.OutOfMemoryError as error:
            raise self._out_of_memory(error) from error
        finally:
            self._clear(in_flight)
        return done

    def _round(
        self, in_flight: InFlight, finish: Callable[[list[Ended]], None], at_once: bool
    ) -> None:
        """One step of every micro-batch.

        Only here and below are runners, prefixes and weights named: `run`, under which the engine
        waits for memory, must hold nothing that is to be given up.

        Args:
            finish: What is done with the requests that have ended.
            at_once: What follows from them may take their slots, if nothing else waits.
        """
        for number, runner in enumerate(self._running().runners):
            computing = number in in_flight.computing
            ended = in_flight.collect(number, runner) if computing else []
            if at_once and not in_flight.scheduler.waiting:
                finish(ended)
                ended = []
            self._launch(in_flight, number)
            finish(ended)  # while the device computes

    def _clear(self, in_flight: InFlight) -> None:
        """Forget the requests that are still in flight."""
        if isinstance(self.state, Running):
            for number, runner in enumerate(self.state.runners):
                for slot in in_flight.scheduler.active[number]:
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

    def _checked(self, requests: Iterable[Request], keys: set[str]) -> list[Request]:
        """The requests, if this engine can run them; their keys are added to `keys`."""
        requests = list(requests)
        for request in requests:
            if request.key in keys:
                raise BadInput("two requests have the same key", where=request.key)
            keys.add(request.key)
            check_request(request, self.config)
            for patch in request.patches:
                check_patch(patch, self.blocks, self.d_model, self.saes)
        return requests

    @torch.inference_mode()
    def _launch(self, in_flight: InFlight, number: int) -> None:
        """Fill a micro-batch's free slots with waiting requests and start its next step."""
        running, admission = self._running(), in_flight.admit(number)
        runner = running.runners[number]
        if admission.prefill:
            running.prefix.fill(admission.prefill)
        for one in admission.requests:
            runner.assign(one.slot, one.request, one.prefix_slot)
        if in_flight.scheduler.active[number]:
            in_flight.computing.add(number)
            runner.launch()

    def _out_of_memory(self, error: torch.OutOfMemoryError) -> OutOfMemory:
        return OutOfMemory(
            f"the device ran out of memory with {sum(self.slots) or self.most} slots: {error}",
            where=str(self.loaded.device),
            next="the same requests may fit with fewer slots.",
        )
