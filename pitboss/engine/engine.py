"""Rows in, generations out: schedule → run → collect, until no row is left."""

from collections.abc import Callable, Iterable, Mapping

import torch

from pitboss.engine.architecture import architecture
from pitboss.engine.patches import check_patch
from pitboss.engine.prefix import BUCKET, PROMPTS
from pitboss.engine.row import Finish, Generation, Row
from pitboss.engine.runner import Runner, StepOutput
from pitboss.engine.scheduler import Scheduler, Seat
from pitboss.errors import BadInput, OutOfMemory
from pitboss.models.loading import LoadedModel
from pitboss.saes.loading import SaeLayer

# Slots that must be free before prompts of their own are prefilled together: enough for full
# batches of equal length, few enough that the others do not wait.
_GATHER = 4 * PROMPTS

OnDone = Callable[[Row, Generation], Iterable[Row]]


class Engine:
    """Runs rows on one model on one device.

    Args:
        loaded: The model.
        seed: The study's seed, from which all noise is counted.
        width: Rows of every matrix product; part of what determines a result's last bits.
        slots: Rows in flight, at most `width` (default: `width`). Does not change results.
        prompt_capacity: Most tokens of any prompt; rounded up to whole prefill buckets.
        token_capacity: Most new tokens of any row.
        prefixes: How many prompts rows share at a time; None when each row has its own.
        lanes: Most patches of any row.
        capture_layers: Blocks whose output is returned for rows that ask for it.
        saes: Whole SAEs by layer, needed only by the reconstruct modes.
        keep_logits: Return every step's logits (for analysis and tests).
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
        prefixes: int | None = None,
        lanes: int = 1,
        capture_layers: tuple[int, ...] = (),
        saes: Mapping[int, SaeLayer] | None = None,
        keep_logits: bool = False,
    ) -> None:
        self.loaded, self.saes, self.keep_logits = loaded, dict(saes or {}), keep_logits
        self.arch = architecture(loaded.model)
        # Prefill works in whole buckets, so that much room is there anyway.
        self.prompt_capacity = -(-prompt_capacity // BUCKET) * BUCKET
        self.token_capacity = token_capacity
        self.slots, self.prefixes = slots or width, prefixes
        if not 0 < self.slots <= width:
            raise BadInput(f"slots = {slots} must lie between 1 and the width of {width}")
        for layer in capture_layers:
            if not 0 <= layer < len(self.arch.blocks):
                raise BadInput(f"layer {layer} cannot be captured: {len(self.arch.blocks)} blocks")
        with torch.inference_mode():
            like = self.arch.embed(torch.zeros(1, dtype=torch.int64, device=loaded.device))
        try:
            self.runner = Runner(
                self.arch,
                like,
                seed=seed,
                eos=loaded.eos_ids,
                width=width,
                slots=self.slots,
                prefixes=prefixes,
                prompt_capacity=self.prompt_capacity,
                token_capacity=token_capacity,
                lanes=lanes,
                capture_layers=capture_layers,
                saes=self.saes,
            )
        except torch.OutOfMemoryError as error:
            raise self._out_of_memory(error) from error

    def run(self, rows: Iterable[Row], on_done: OnDone | None = None) -> list[Generation]:
        """Generate every row; `on_done` is told of each and may return further rows.

        Returns:
            Generations in the order in which they ended (those of `on_done` included).

        Raises:
            BadInput: A row does not fit the engine, or two rows have the same key.
            OutOfMemory: The device has no room; fewer slots may do.
        """
        scheduler = Scheduler(self.slots, self.prefixes, gather=_GATHER)
        keys: set[str] = set()
        scheduler.submit(self._checked(rows, keys))
        done: list[Generation] = []
        logits: dict[str, list[torch.Tensor]] = {}
        states: dict[str, torch.Tensor] = {}
        try:
            while scheduler.busy:
                self._seat(scheduler)
                seats = list(scheduler.seated.values())
                capture = [s.slot for s in seats if s.row.capture and not s.tokens]
                output = self.runner.step(capture)
                for seat in seats:
                    self._note(seat, output, logits, states)
                    finish = self._advance(seat, output.tokens[seat.slot])
                    if finish is None:
                        continue
                    scheduler.leave(seat)
                    self.runner.clear(seat.slot)
                    generation = self._generation(seat, finish, logits, states)
                    done.append(generation)
                    if on_done is not None:
                        scheduler.submit(self._checked(on_done(seat.row, generation), keys))
        except torch.OutOfMemoryError as error:
            raise self._out_of_memory(error) from error
        finally:
            for slot in list(scheduler.seated):
                self.runner.clear(slot)
        return done

    def _checked(self, rows: Iterable[Row], keys: set[str]) -> list[Row]:
        rows = list(rows)
        for row in rows:
            if row.key in keys:
                raise BadInput("two rows have the same key", where=row.key)
            keys.add(row.key)
            if not 0 < len(row.prompt) <= self.prompt_capacity:
                raise BadInput(
                    f"a prompt has {len(row.prompt)} tokens, the engine holds 1 to "
                    f"{self.prompt_capacity}",
                    where=row.key,
                )
            if row.sampling.max_new_tokens > self.token_capacity:
                raise BadInput(
                    f"max_new_tokens = {row.sampling.max_new_tokens} exceeds the engine's "
                    f"{self.token_capacity}",
                    where=row.key,
                )
            if len(row.patches) > len(self.runner.lanes):
                raise BadInput(f"{len(row.patches)} patches in a row", where=row.key)
            for patch in row.patches:
                check_patch(patch, len(self.arch.blocks), self.arch.d_model, self.saes)
        return rows

    def _seat(self, scheduler: Scheduler) -> None:
        admission = scheduler.admit()
        self.runner.prefix.fill(admission.prefill)
        for seat in admission.seats:
            self.runner.seat(seat.slot, seat.row, seat.place)
        self.runner.live_places = scheduler.live_places()

    def _note(
        self,
        seat: Seat,
        output: StepOutput,
        logits: dict[str, list[torch.Tensor]],
        states: dict[str, torch.Tensor],
    ) -> None:
        if seat.slot in output.states:
            states[seat.row.key] = output.states[seat.slot]
        if self.keep_logits:
            logits.setdefault(seat.row.key, []).append(output.logits[seat.slot].cpu())

    def _advance(self, seat: Seat, token: int) -> Finish | None:
        if token in self.loaded.eos_ids:
            return "eos"
        seat.tokens.append(token)
        if seat.row.ends is not None and seat.row.ends(self.loaded.decode(seat.tokens)):
            return "decided"
        if len(seat.tokens) == seat.row.sampling.max_new_tokens:
            return "length"
        return None

    def _generation(
        self,
        seat: Seat,
        finish: Finish,
        logits: dict[str, list[torch.Tensor]],
        states: dict[str, torch.Tensor],
    ) -> Generation:
        key = seat.row.key
        kept = torch.stack(logits.pop(key)) if key in logits else None
        text = self.loaded.decode(seat.tokens)
        return Generation(key, tuple(seat.tokens), text, finish, states.pop(key, None), kept)

    def _out_of_memory(self, error: torch.OutOfMemoryError) -> OutOfMemory:
        return OutOfMemory(
            f"the device ran out of memory with {self.slots} slots: {error}",
            where=str(self.loaded.device),
            next="the same rows may fit with fewer slots.",
        )
