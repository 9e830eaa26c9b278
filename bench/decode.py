"""Patched decoding: the engine against transformers `generate` with a hook that patches rows.

Both sample from the same model, one feature patched in each row at the last prompt token and all
generated ones. `python -m bench.decode` runs the lab model on the CPU; `--shape llama-8b` makes
random weights of LLaMA-3.1-8B's shape in bfloat16 on the GPU (speed does not depend on their
values). Every variant is warmed up once and then timed `--repeat` times; medians are printed, and
the ratio is what to quote.
"""

import argparse
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from pitboss.engine import Engine, Patch, Row, Sampling
from pitboss.models.catalogue import model_spec
from pitboss.models.loading import LoadedModel, load_model

NO_EOS: frozenset[int] = frozenset()


class _Ids:
    """Text is not what is measured."""

    def decode(self, ids: list[int], **_: object) -> str:
        return ""


def random_llama_8b() -> LoadedModel:
    """A model of LLaMA-3.1-8B's shape with random weights, bfloat16, on the GPU."""
    config = LlamaConfig(
        vocab_size=128256,
        hidden_size=4096,
        intermediate_size=14336,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=8,
        max_position_embeddings=131072,
        rms_norm_eps=1e-5,
        attn_implementation="sdpa",
        rope_parameters={
            "rope_type": "llama3",
            "rope_theta": 500000.0,
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192,
        },
    )
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.device("cuda"):
            model = LlamaForCausalLM(config)
    finally:
        torch.set_default_dtype(torch.float32)
    return LoadedModel(
        spec=model_spec("meta-llama/Llama-3.1-8B"),
        model=model.eval().requires_grad_(False),
        tokenizer=_Ids(),  # type: ignore[arg-type]
        device=torch.device("cuda"),
        dtype=torch.bfloat16,
        eos_ids=NO_EOS,
        generation_defaults={},
    )


def rows_of(loaded: LoadedModel, n: int, prompt_tokens: int, new_tokens: int) -> list[Row]:
    """n rows over two prompts; every row patches a feature of its own in a block of its own."""
    d_model, blocks = loaded.spec.d_model, loaded.spec.n_layers
    generator = torch.Generator().manual_seed(1)
    vocab = loaded.model.config.vocab_size
    prompts = [
        tuple(torch.randint(10, vocab, (prompt_tokens,), generator=generator).tolist())
        for _ in range(2)
    ]
    # min_new_tokens keeps the end token away: every row has all its tokens in both programs.
    sampling = Sampling(0.7, 50, 0.9, new_tokens, new_tokens)
    rows = []
    for i in range(n):
        enc, dec = torch.randn(2, d_model, generator=generator) / d_model**0.5
        enc, dec = enc.to(loaded.device), dec.to(loaded.device)
        patch = Patch(i % blocks, i, enc, 0.0, 1.0, 0.0, 0.0, dec, 2.0)
        rows.append(Row(f"{i}", prompts[i % 2], f"{i}", sampling, (patch,)))
    return rows


def run_engine(loaded: LoadedModel, rows: list[Row], width: int) -> Callable[[], int]:
    """Our engine; returns a function that generates all rows and counts their tokens."""
    engine = Engine(
        loaded,
        seed=1,
        width=width,
        prompt_capacity=len(rows[0].prompt),
        token_capacity=rows[0].sampling.max_new_tokens,
        prefixes=2,
    )
    return lambda: sum(len(g.tokens) for g in engine.run(rows))


def run_generate(loaded: LoadedModel, rows: list[Row], batch: int) -> Callable[[], int]:
    """transformers `generate` with a forward hook at every block that patches each row."""
    patches = [row.patches[0] for row in rows]
    enc = torch.stack([p.enc for p in patches])
    dec = torch.stack([p.dec for p in patches])
    layer = torch.tensor([p.layer for p in patches], device=loaded.device)
    blocks: Any = loaded.model.model.layers  # type: ignore[union-attr]
    ids = torch.tensor([row.prompt for row in rows], device=loaded.device)
    s = rows[0].sampling
    now: dict[str, torch.Tensor] = {}

    def hook(index: int) -> Callable[..., torch.Tensor]:
        def patch(_: object, __: object, output: torch.Tensor) -> torch.Tensor:
            which = now["rows"]
            x = output[:, -1].float()
            a = torch.relu((x * enc[which]).sum(-1))
            change = torch.where(layer[which] == index, 2.0 - a, 0.0)
            output = output.clone()
            output[:, -1] += (change[:, None] * dec[which]).to(output.dtype)
            return output

        return patch

    def run() -> int:
        handles = [block.register_forward_hook(hook(i)) for i, block in enumerate(blocks)]
        made = 0
        try:
            for start in range(0, len(rows), batch):
                now["rows"] = torch.arange(
                    start, min(start + batch, len(rows)), device=loaded.device
                )
                out = loaded.model.generate(  # type: ignore[operator]
                    ids[now["rows"]],
                    attention_mask=torch.ones_like(ids[now["rows"]]),
                    do_sample=True,
                    temperature=s.temperature,
                    top_k=s.top_k,
                    top_p=s.top_p,
                    max_new_tokens=s.max_new_tokens,
                    min_new_tokens=s.max_new_tokens,
                    pad_token_id=0,
                )
                made += out.shape[0] * (out.shape[1] - ids.shape[1])
        finally:
            for handle in handles:
                handle.remove()
        return made

    return run


def tokens_per_second(run: Callable[[], int], repeat: int, device: torch.device) -> float:
    """Median over `repeat` timed runs after one that is not timed."""
    found = []
    for i in range(repeat + 1):
        if device.type == "cuda":
            torch.cuda.synchronize()
        began = time.perf_counter()
        tokens = run()
        if device.type == "cuda":
            torch.cuda.synchronize()
        if i:
            found.append(tokens / (time.perf_counter() - began))
    return statistics.median(found)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.decode", description=__doc__)
    parser.add_argument("--shape", choices=["lab-llama", "llama-8b"], default="lab-llama")
    parser.add_argument("--width", type=int, default=128, help="rows of the engine's batch")
    parser.add_argument("--batches", type=int, nargs="+", default=[64, 128, 256])
    parser.add_argument("--rows", type=int, default=256)
    parser.add_argument("--prompt-tokens", type=int, default=150)
    parser.add_argument("--new-tokens", type=int, default=24)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    args = parser.parse_args()
    loaded = random_llama_8b() if args.shape == "llama-8b" else load_model("pitboss/lab-llama")
    rows = rows_of(loaded, args.rows, args.prompt_tokens, args.new_tokens)
    ours = tokens_per_second(run_engine(loaded, rows, args.width), args.repeat, loaded.device)
    theirs = {
        batch: tokens_per_second(run_generate(loaded, rows, batch), args.repeat, loaded.device)
        for batch in args.batches
    }
    best = max(theirs.values())
    figures = {
        "command": " ".join(["python -m bench.decode", *sys.argv[1:]]),
        "device": torch.cuda.get_device_name() if loaded.device.type == "cuda" else "cpu",
        "torch": torch.__version__,
        "python": platform.python_version(),
        "engine_tokens_per_second": round(ours, 1),
        "generate_tokens_per_second": {str(b): round(v, 1) for b, v in theirs.items()},
        "ratio_to_best_generate": round(ours / best, 2),
    }
    print(json.dumps(figures, indent=1))
    if args.out:
        args.out.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
