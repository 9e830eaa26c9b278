"""Checks before any work: each passes on good input and fails on the error it is made for."""

import dataclasses

import pytest
import torch
from torch import nn

from pitboss.errors import BadInput
from pitboss.games.conditions import ALL_CONDITIONS
from pitboss.games.prompts import State, render
from pitboss.models import checks
from pitboss.models.hooks import block_outputs, blocks

TEXTS = [render("exp0/planned", State(c, 100)).text for c in ALL_CONDITIONS[::9]]
TEXTS += [render("exp2/safe").text, render("exp2/risky").text]


def test_the_parameter_count_is_the_catalogues(loaded):
    assert checks.check_parameters(loaded).ok
    other = dataclasses.replace(loaded, spec=dataclasses.replace(loaded.spec, n_params=1))
    assert not checks.check_parameters(other).ok


def test_every_prompt_has_one_bos(loaded):
    assert checks.check_bos(loaded, TEXTS).ok
    doubled = checks.check_bos(loaded, [*TEXTS, f"{loaded.tokenizer.bos_token} twice"])
    assert not doubled.ok and doubled.detail.startswith("1 of")


def test_hooks_see_the_hidden_states_of_every_layer(loaded):
    found = checks.check_hooks(loaded, TEXTS[0])
    assert len(found) == loaded.spec.n_layers
    assert all(check.ok for check in found), found


def test_the_last_hidden_state_is_not_the_last_blocks_output(loaded):
    """The trap that the hooks avoid: hidden_states[-1] lies behind the final norm."""
    ids = torch.tensor([loaded.encode(TEXTS[0])])
    with torch.no_grad(), block_outputs(loaded) as outputs:
        states = loaded.model(ids, use_cache=False, output_hidden_states=True).hidden_states
    assert torch.equal(outputs[0], states[1])
    assert not torch.allclose(outputs[loaded.spec.n_layers - 1], states[-1], atol=0.1)


def test_hooks_are_gone_after_use_even_after_an_error(loaded):
    before = [len(block._forward_hooks) for block in blocks(loaded)]
    with pytest.raises(RuntimeError), block_outputs(loaded):
        raise RuntimeError
    assert [len(block._forward_hooks) for block in blocks(loaded)] == before


def test_a_wrong_layer_order_fails_the_hook_check(loaded, monkeypatch):
    swapped = nn.ModuleList(list(blocks(loaded))[::-1])
    monkeypatch.setattr("pitboss.models.hooks.blocks", lambda _loaded: swapped)
    assert not all(check.ok for check in checks.check_hooks(loaded, TEXTS[0]))


@dataclasses.dataclass(frozen=True)
class _Coder:
    """Keeps a subspace of the residual stream."""

    layer: int
    mean: torch.Tensor
    basis: torch.Tensor

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        return (x - self.mean) @ self.basis

    def decode(self, activations: torch.Tensor) -> torch.Tensor:
        return activations @ self.basis.T + self.mean


def _principal_coder(loaded, layer: int, rank: int) -> _Coder:
    rows = []
    with torch.no_grad(), block_outputs(loaded) as outputs:
        for text in TEXTS:
            loaded.model(torch.tensor([loaded.encode(text)]), use_cache=False)
            rows.append(outputs[layer][0, 1:])
    x = torch.cat(rows)
    basis = torch.linalg.svd(x - x.mean(0), full_matrices=False).Vh[:rank].T
    return _Coder(layer, x.mean(0), basis)


def test_reconstruction_is_measured_against_the_limit_and_the_neighbours(loaded):
    coder = _principal_coder(loaded, layer=1, rank=48)
    (good,) = checks.check_reconstruction(loaded, [coder], TEXTS, limit=0.2)
    assert good.ok, good
    (strict,) = checks.check_reconstruction(loaded, [coder], TEXTS, limit=good.value / 2)
    assert not strict.ok
    shifted = dataclasses.replace(coder, layer=2)
    (off_by_one,) = checks.check_reconstruction(loaded, [shifted], TEXTS, limit=100.0)
    assert not off_by_one.ok and "off by one" in off_by_one.detail


def test_unexplained_variance_of_the_mean_alone_is_one(loaded):
    coder = _principal_coder(loaded, layer=0, rank=0)
    found = checks.unexplained(loaded, coder, TEXTS)
    assert found.own == pytest.approx(1.0, abs=1e-4)
    assert found.below is None and found.above is not None


def test_memory_and_disk_compare_with_what_is_free_now(tmp_path):
    assert checks.check_memory("cpu", 1).ok
    assert not checks.check_memory("cpu", 10**18).ok
    later = tmp_path / "not" / "yet" / "there"
    assert checks.check_disk(later, 1).ok
    full = checks.check_disk(later, 10**18)
    assert not full.ok and "needed" in full.detail


def test_require_names_every_failed_check():
    good, bad = checks.Check("a", True, "fine."), checks.Check("b", False, "too small.")
    checks.require([good])
    with pytest.raises(BadInput, match=r"\[b\] too small\.") as error:
        checks.require([good, bad])
    assert "[a]" not in str(error.value)
