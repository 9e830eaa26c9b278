"""Contexts: the states of everywhere, the places that a plain search finds, and known tokens."""

from dataclasses import replace

import pandas as pd
import pytest
import torch

from pitboss.engine import EngineConfig, Request, Sampling
from pitboss.experiments.runtime import residuals as passes
from pitboss.experiments.words.contexts import responses, tokenised
from pitboss.experiments.words.experiment import Words
from pitboss.experiments.words.peaks import Text, most_active
from pitboss.games.prompts import render
from pitboss.games.scenes import scene
from pitboss.saes.planted import planted
from tests.experiments.small import LAYERS, Whole


@pytest.fixture(scope="module")
def words(whole: Whole) -> Words:
    found = whole.plan["words"]
    assert isinstance(found, Words)
    return found


@pytest.fixture(scope="module")
def found(words: Words) -> pd.DataFrame:
    return words.store.read("contexts", [words.contexts().key]).to_pandas()


@pytest.fixture(scope="module")
def sample(words: Words) -> pd.DataFrame:
    of = words.contexts().payload
    return responses(words.store, words.study.seed, of.games, of.baseline, most=60)


@pytest.fixture(scope="module")
def texts(whole: Whole, sample: pd.DataFrame) -> list[Text]:
    return list(tokenised(whole.context.loaded, sample))


def test_states_are_those_of_the_model_and_of_the_engine(whole: Whole) -> None:
    loaded = whole.context.loaded
    tokens = loaded.encode(render("exp2/risky").text)
    with torch.inference_mode():
        own = passes.residuals(loaded, tokens, range(4))
        ids = torch.tensor([tokens])
        hidden = loaded.model(input_ids=ids, output_hidden_states=True).hidden_states
    for layer in range(3):  # the last block's entry is taken behind the final norm
        assert torch.equal(own[layer], hidden[layer + 1][0].float())
    config = EngineConfig(
        width=whole.context.width,
        prompt_capacity=len(tokens),
        token_capacity=1,
        capture_layers=(0, 1, 2, 3),
    )
    engine = whole.context.engine(config)
    one = Sampling(temperature=0, max_new_tokens=1)
    [generation] = engine.run([Request("a", tuple(tokens), "a", one, capture=True)])
    whole.context.forget_engine()
    assert generation.states is not None
    for layer in range(4):  # other shapes of the same products: equal but for rounding
        torch.testing.assert_close(own[layer][-1], generation.states[layer], rtol=1e-4, atol=1e-3)


def test_a_plain_search_finds_the_same_places(
    whole: Whole, texts: list[Text], found: pd.DataFrame
) -> None:
    loaded, gate = whole.context.loaded, "sae_lens"
    saes = {layer: whole.context.sae(layer, gate) for layer in LAYERS}
    rows, seen = [], set()
    for text in sorted(texts):
        with torch.inference_mode():
            states = passes.residuals(loaded, text.tokens, LAYERS)
        for at in range(1, len(text.tokens)):
            if text.tokens[: at + 1] in seen:
                continue
            seen.add(text.tokens[: at + 1])
            rows += [(text.source, at, layer, states[layer][at]) for layer in LAYERS]
    for (layer, feature), mine in list(found.groupby(["layer", "feature"]))[::3]:
        own = [row for row in rows if row[2] == layer]
        dense = saes[layer].encode(torch.stack([row[3] for row in own]))[:, feature]
        every = pd.DataFrame({"source": [r[0] for r in own], "position": [r[1] for r in own]})
        every["activation"] = dense.numpy()
        best = every.sort_values("activation", ascending=False, kind="stable")
        best = best.drop_duplicates("source").head(len(mine)).reset_index(drop=True)
        mine = mine.sort_values("rank").reset_index(drop=True)
        assert best["activation"].tolist() == pytest.approx(mine["activation"].tolist(), rel=1e-4)
        assert (best[["source", "position"]] == mine[["source", "position"]]).all().all()


def test_every_causal_feature_has_contexts_from_the_texts_they_name(
    whole: Whole, words: Words, found: pd.DataFrame
) -> None:
    assert set(zip(found["layer"], found["feature"], strict=True)) == set(words.causal)
    assert not found.duplicated(["layer", "feature", "source"]).any()
    decisions = whole.store.read("decisions").to_pandas().set_index("key")
    trials = whole.store.read("trials").to_pandas().set_index("key")
    assert set(found["part"]) == {"prompt", "response"}
    for row in found.itertuples():
        if row.source in decisions.index:
            said = decisions.loc[row.source]
            prompt = said["prompt_text"]
        else:
            said = trials.loc[row.source]
            prompt = scene(said["prompt"]).text
        assert row.before + row.token + row.after in prompt + said["response"]
        start = (prompt + said["response"]).find(row.before + row.token + row.after)
        inside = start + len(row.before) < len(prompt)
        assert inside or row.part == "response"


def test_both_halves_of_a_planted_pair_are_active_at_the_same_places(
    whole: Whole, found: pd.DataFrame
) -> None:
    release = whole.study.models["llama"].sae
    ids = {layer: set(planted(release)[layer]["causal"]) for layer in LAYERS}
    kept = ["source", "position", "token", "activation"]
    places = {
        (layer, feature): tuple(map(tuple, mine.sort_values("rank")[kept].to_numpy()))
        for (layer, feature), mine in found.groupby(["layer", "feature"])
        if feature in ids[layer]
    }
    assert len(places) == 24
    shared = [list(places.values()).count(value) for value in places.values()]
    assert set(shared) == {2}  # each half has one partner, with the same encoder


@pytest.mark.parametrize("word", [" lucky", " LOSS"])
def test_a_feature_that_reads_a_token_is_active_at_that_token(
    whole: Whole, words: Words, texts: list[Text], word: str
) -> None:
    loaded = whole.context.loaded
    [token] = loaded.encode_response(word)[-1:]
    layer, some = LAYERS[0], [text for text in texts if token in text.tokens][:5]
    assert some
    with torch.inference_mode():
        states = torch.cat([passes.residuals(loaded, t.tokens, [layer])[layer][1:] for t in some])
    at = torch.tensor([token == other for text in some for other in text.tokens[1:]])
    apart = states[at].mean(0) - states[~at].mean(0)
    direction = (
        torch.linalg.lstsq(
            states.double().T @ states.double() / len(states) + 1e-3 * torch.eye(states.shape[1]),
            apart.double()[:, None],
        )
        .solution[:, 0]
        .float()
    )
    bank = words.bank().rows([0])
    cut = float((states[at] @ direction).min() + (states[~at] @ direction).max()) / 2
    reads = replace(
        bank,
        enc=direction[None],
        shift=torch.zeros(1),
        scale=torch.ones(1),
        bias=torch.zeros(1),
        threshold=torch.tensor([cut]),
    )
    [places], _ = most_active(loaded, reads, some, top=3)
    assert places
    assert {loaded.show([text.tokens[position]]) for _, text, position in places} == {
        loaded.show([token])
    }


def test_a_sample_is_the_same_again_and_holds_each_text_once(
    words: Words, sample: pd.DataFrame
) -> None:
    of = words.contexts().payload
    again = responses(words.store, words.study.seed, of.games, of.baseline, most=60)
    pd.testing.assert_frame_equal(sample, again)
    assert len(sample) == 60 and not sample.duplicated(["prompt_text", "response"]).any()
    trials = words.store.read("trials").to_pandas()
    from_trials = sample["key"].isin(trials.loc[trials["arm"] == "baseline", "key"])
    assert from_trials.any() and not from_trials.all()
