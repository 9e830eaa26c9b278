"""Interventions in the CUDA graph of every family against the textbook formula on the CPU."""

import pytest

from pitboss.engine import Request
from pitboss.engine.request import Positions
from tests.engine.families import FAMILIES, random_model, random_prompts
from tests.engine.test_interventions import GREEDY, POSITIONS, arms_of, reference_logits, run


@pytest.mark.parametrize("positions", POSITIONS)
@pytest.mark.parametrize("family", list(FAMILIES))
def test_every_intervention_is_its_textbook_formula(family: str, positions: Positions) -> None:
    arms, prompts = arms_of(positions), random_prompts()
    requests = [
        Request(name, prompts[i % len(prompts)], name, GREEDY, patches)
        for i, (name, (patches, _)) in enumerate(arms.items())
    ]
    on_cpu, on_gpu = random_model(family), random_model(family, "cuda")
    out = run(on_gpu, requests)
    for request in requests:
        g = out[request.key]
        expected = reference_logits(
            on_cpu, request.prompt, g.tokens, arms[request.key][1], positions
        )
        assert g.logits is not None
        expected = expected[: len(g.logits)]
        assert float((g.logits - expected).abs().max() / expected.abs().max()) < 1e-5, request.key
        assert expected.argmax(-1).tolist()[: len(g.tokens)] == list(g.tokens)
