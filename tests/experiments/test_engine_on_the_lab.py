"""The engine on the shipped models against transformers and sae-lens, computed independently."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from pitboss.engine import Engine, EngineConfig, Generation, Patch, Request, Sampling
from pitboss.games.conditions import ALL_CONDITIONS
from pitboss.games.prompts import State, render
from pitboss.models.catalogue import sae_release
from pitboss.models.loading import LoadedModel, load_model
from pitboss.saes.bank import FeatureBank
from pitboss.saes.loading import SaeLayer, _load_with_sae_lens, load_sae

LAYERS = (1, 2)
POSITIONS = ("prompt_last", "prompt_last_and_generated")
TEXTS = [render(name).text for name in ("exp2/safe", "exp2/risky")]
TEXTS += [render("exp0/planned", State(c, 100)).text for c in ALL_CONDITIONS[::21]]
GREEDY = Sampling(temperature=0, max_new_tokens=20)


class Pair:
    """A shipped model twice: as the engine takes it, and as transformers loads it."""

    def __init__(self, name: str) -> None:
        self.loaded: LoadedModel = load_model(f"pitboss/lab-{name}")
        self.reference = AutoModelForCausalLM.from_pretrained(
            self.loaded.spec.local, dtype=torch.float32, attn_implementation="eager"
        ).eval()
        self.saes: dict[int, tuple[Any, SaeLayer]] = {}
        for layer in LAYERS:
            release = sae_release(f"pitboss/lab-{name}-scope")
            sae, _ = _load_with_sae_lens(release, release.sae_id_of(layer))
            self.saes[layer] = (sae, load_sae(release.id, layer, "sae_lens"))

    @torch.no_grad()
    def patches(self) -> list[Patch]:
        """Strong patches of features that fire and of features that do not."""
        found = []
        for layer, (_, sae) in self.saes.items():
            for n, feature in enumerate((3, 77, 190)):
                bank = FeatureBank.build([sae], {layer: [feature]})
                size = float(bank.dec[0].norm())
                found.append(
                    Patch(
                        layer,
                        feature,
                        bank.enc[0],
                        float(bank.shift[0]),
                        float(bank.scale[0]),
                        float(bank.bias[0]),
                        float(bank.threshold[0]),
                        bank.dec[0],
                        value=(60.0, 0.0, -60.0)[n] / size,
                        positions=POSITIONS[(n + layer) % 2],
                    )
                )
        return found

    @torch.no_grad()
    def logits(self, row: Request, tokens: tuple[int, ...]) -> torch.Tensor:
        """Logits at the last prompt token and at every generated one; the SAE does the patch."""
        (patch,) = row.patches or (None,)
        last = len(row.prompt) - 1
        handles = []
        if patch is not None:
            sae = self.saes[patch.layer][0]
            end = None if patch.positions == "prompt_last_and_generated" else last + 1

            def hook(_: object, __: object, output: torch.Tensor) -> torch.Tensor:
                x = output[0, last:end]
                activations = sae.encode(x)
                error = x - sae.decode(activations)
                changed = activations.clone()
                changed[:, patch.feature] = patch.value
                output = output.clone()
                output[0, last:end] = sae.decode(changed) + error
                return output

            handles.append(self.reference.model.layers[patch.layer].register_forward_hook(hook))
        try:
            found: torch.Tensor = self.reference(
                torch.tensor([row.prompt + tokens]), use_cache=False
            ).logits[0, last:]
            return found
        finally:
            for handle in handles:
                handle.remove()


@pytest.fixture(scope="module", params=["llama", "gemma"])
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield Pair(request.param)
    torch.set_num_threads(threads)


def run(pair: Pair, rows: list[Request]) -> dict[str, Generation]:
    config = EngineConfig(width=32, prompt_capacity=400, token_capacity=20, keep_logits=True)
    return {g.key: g for g in Engine(pair.loaded, config, seed=1).run(rows)}


def test_greedy_texts_and_logits_equal_transformers_and_sae_lens(pair: Pair) -> None:
    prompts = [tuple(pair.loaded.encode(text)) for text in TEXTS]
    rows = [Request(f"none/{i}", prompt, "x", GREEDY) for i, prompt in enumerate(prompts)]
    for i, patch in enumerate(pair.patches()):
        rows += [Request(f"{i}/{j}", prompts[j], "x", GREEDY, (patch,)) for j in (0, 1 + i % 4)]
    together = run(pair, rows)
    changed = [k for k, g in together.items() if g.tokens != together[f"none/{k[-1]}"].tokens]
    assert len(changed) > 3
    for n, row in enumerate(rows):
        g = together[row.key]
        expected = pair.logits(row, g.tokens)
        assert g.logits is not None and len(g.logits) == len(g.tokens) + (g.finish == "eos")
        expected = expected[: len(g.logits)]
        assert float((g.logits - expected).abs().max() / expected.abs().max()) < 1e-5
        greedy = expected.argmax(-1).tolist()
        assert tuple(greedy[: len(g.tokens)]) == g.tokens
        assert g.finish != "eos" or greedy[-1] in pair.loaded.eos_ids
        if n % 3 == 0:
            alone = run(pair, [row])[row.key]
            assert alone.tokens == g.tokens and alone.text == g.text
            assert alone.logits is not None and torch.equal(alone.logits, g.logits)


def test_unpatched_greedy_text_is_what_generate_writes(pair: Pair) -> None:
    for i, text in enumerate(TEXTS[:3]):
        prompt = pair.loaded.encode(text)
        ids = pair.reference.generate(
            torch.tensor([prompt]),
            do_sample=False,
            max_new_tokens=20,
            eos_token_id=sorted(pair.loaded.eos_ids),
        )[0, len(prompt) :].tolist()
        expected = pair.loaded.decode([t for t in ids if t not in pair.loaded.eos_ids])
        assert run(pair, [Request(str(i), tuple(prompt), "x", GREEDY)])[str(i)].text == expected
