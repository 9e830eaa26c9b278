"""Small random models on the GPU, requests with a patch each, and what they should come to."""

from typing import Any

import torch
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from pitboss.engine import Engine, EngineConfig, Generation, Patch, Request, Sampling
from pitboss.models.catalogue import model_spec
from pitboss.models.loading import LoadedModel
from pitboss.saes.loading import SaeLayer

FAMILIES = ["llama", "gemma2", "qwen3", "mistral"]
_SIZES: dict[str, Any] = {
    "vocab_size": 20_000,  # large enough to be searched group by group
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "max_position_embeddings": 1024,
    "initializer_range": 0.1,
}


class Ids:
    def decode(self, ids: list[int], **_: object) -> str:
        return " ".join(map(str, ids))


def small(family: str, dtype: torch.dtype = torch.float32, **sizes: Any) -> LoadedModel:
    """Windows are shorter than the prompts; `sizes` are of a LLaMA."""
    torch.manual_seed(3)
    model: Any
    if family == "llama":
        model = LlamaForCausalLM(LlamaConfig(**_SIZES | sizes))
    elif family == "mistral":
        model = MistralForCausalLM(
            MistralConfig(**_SIZES, sliding_window=40, attn_implementation="eager")
        )
    elif family == "qwen3":
        model = Qwen3ForCausalLM(Qwen3Config(**_SIZES, head_dim=64))
    else:
        extra = {"head_dim": 32, "query_pre_attn_scalar": 32, "sliding_window": 32}
        model = Gemma2ForCausalLM(Gemma2Config(**_SIZES, **extra, attn_implementation="eager"))
    return LoadedModel(
        spec=model_spec("pitboss/lab-llama"),
        model=model.cuda().to(dtype).eval().requires_grad_(False),
        tokenizer=Ids(),  # type: ignore[arg-type]
        device=torch.device("cuda"),
        dtype=dtype,
        eos_ids=frozenset({2}),
        generation_defaults={},
    )


def sae_of(layer: int, d_model: int, d_sae: int = 64) -> SaeLayer:
    """A random jumprelu SAE whose feature i is row i of its matrices."""
    generator = torch.Generator().manual_seed(11 + layer)
    enc, dec = (
        torch.randn(*shape, generator=generator).cuda() * 0.3
        for shape in ((d_model, d_sae), (d_sae, d_model))
    )
    ones, zeros = torch.ones(d_sae).cuda(), torch.zeros(d_sae).cuda()
    return SaeLayer(
        layer, "jumprelu", "sae_lens", enc, dec, torch.zeros(d_model).cuda(),
        shift=zeros + 0.1, scale=ones, bias=zeros, threshold=zeros + 0.2, source={},
    )  # fmt: skip


def requests_of(loaded: LoadedModel, n: int, sampling: Sampling, **patch: Any) -> list[Request]:
    """n requests over two prompts, a feature of a random SAE patched in each."""
    generator = torch.Generator().manual_seed(5)
    config = loaded.model.config
    prompts = [
        tuple(torch.randint(3, config.vocab_size, (m,), generator=generator).tolist())
        for m in (60, 100)
    ]
    saes = {i: sae_of(i, config.hidden_size) for i in range(config.num_hidden_layers)}
    requests = []
    for i in range(n):
        sae, f = saes[i % config.num_hidden_layers], i % 64
        made = Patch(
            sae.layer, f, sae.W_enc[:, f], 0.1, 1.0, 0.0, 0.2, sae.W_dec[f], float(i % 5), **patch
        )
        requests.append(Request(f"r{i}", prompts[i % 2], f"n{i}", sampling, (made,)))
    return requests


def run(loaded: LoadedModel, requests: list[Request], **settings: Any) -> dict[str, Generation]:
    saes = settings.pop("saes", None)
    options = {"width": 64, "prefixes": 2, "keep_logits": True} | settings
    config = EngineConfig(prompt_capacity=128, token_capacity=24, **options)
    return {g.key: g for g in Engine(loaded, config, seed=1, saes=saes).run(requests)}


def reference(loaded: LoadedModel, request: Request, tokens: tuple[int, ...]) -> torch.Tensor:
    """Uncached transformers forward with the patch at every position from the last prompt token."""
    (patch,) = request.patches
    last = len(request.prompt) - 1
    assert patch.value is not None

    def hook(_: object, __: object, output: torch.Tensor) -> torch.Tensor:
        x = output[0, last:].float()
        v = x @ patch.enc + patch.shift
        a = torch.where(v > patch.threshold, torch.relu(v), 0.0)
        output = output.clone()
        output[0, last:] = (x + (patch.value - a)[:, None] * patch.dec).to(output.dtype)
        return output

    handle = loaded.model.model.layers[patch.layer].register_forward_hook(hook)  # type: ignore
    try:
        ids = torch.tensor([request.prompt + tokens], device="cuda")
        logits: torch.Tensor = loaded.model(ids).logits[0, last:].float().cpu()
        return logits
    finally:
        handle.remove()


def error(made: torch.Tensor | None, expected: torch.Tensor | None) -> float:
    """Relative error of logits, in the 2-norm."""
    assert made is not None and expected is not None
    expected = expected[: len(made)]
    return float((made - expected).norm() / expected.norm())
