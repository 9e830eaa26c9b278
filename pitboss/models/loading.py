"""Loading a language model and its tokenizer with transformers."""

from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from pitboss.errors import BadInput
from pitboss.models.catalogue import ModelSpec, model_spec
from pitboss.models.hub import require_reachable
from pitboss.models.text import TextStream, decode, fast_backend

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}

# Chat models end their turn with one of these; not every generation_config lists it as EOS,
# and a model that is not stopped there starts to write the user's next message.
_TURN_ENDS = ("<end_of_turn>", "<|eot_id|>")

# Encoded prompts that are remembered. The first rounds of all repetitions of a condition, and the
# rounds asked again, have the same text.
_REMEMBERED = 4096


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model in memory, with the one way in which texts become tokens and back.

    Attributes:
        spec: The catalogue's entry.
        model: The transformers model, in eval mode, without gradients.
        tokenizer: Its tokenizer.
        device: Where the weights lie.
        dtype: Their number format.
        eos_ids: Tokens that end a response.
        generation_defaults: `temperature`, `top_k` and `top_p` that the model's own
            generation_config sets; a key is absent where it sets none. (transformers' own
            `generate` then still applies top_k 50.)
    """

    spec: ModelSpec
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    device: torch.device
    dtype: torch.dtype
    eos_ids: frozenset[int]
    generation_defaults: dict[str, float]
    _encoded: dict[str, tuple[int, ...]] = field(default_factory=dict, compare=False, repr=False)

    def encode(self, text: str) -> list[int]:
        """Token ids of a prompt, chat template applied where the model has one, one BOS.

        Raises:
            BadInput: the result does not start with the only BOS in it.
        """
        known = self._encoded.get(text)
        if known is None:
            known = tuple(self._encode(text))
            if len(self._encoded) >= _REMEMBERED:
                self._encoded.clear()
            self._encoded[text] = known
        return list(known)

    def _encode(self, text: str) -> list[int]:
        if self.spec.chat_template:
            templated = self.tokenizer.apply_chat_template(
                [{"role": "user", "content": text}], tokenize=False, add_generation_prompt=True
            )
            # The template writes the BOS itself; special tokens again would double it.
            ids = _token_ids(self.tokenizer, str(templated), special=False)
        else:
            ids = _token_ids(self.tokenizer, text, special=True)
        bos = self.tokenizer.bos_token_id
        if ids[:1] != [bos] or ids.count(bos) != 1:
            raise BadInput(
                f"The prompt must start with exactly one BOS token, found {ids.count(bos)}.",
                where=f"tokenizer of {self.spec.id}",
                next="Remove the BOS token from the prompt text, or repair the tokenizer files.",
            )
        return ids

    def encode_response(self, text: str) -> list[int]:
        """Token ids of a stored response's text, to stand behind a prompt's: no special tokens.

        A text can be written with other tokens than those by which the model once wrote it.
        """
        return _token_ids(self.tokenizer, text, special=False)

    def show(self, ids: list[int]) -> str:
        """Text of any token ids, special tokens included."""
        return str(self.tokenizer.decode(ids, clean_up_tokenization_spaces=False))

    def decode(self, ids: list[int]) -> str:
        """Text of generated token ids, without special tokens."""
        return decode(self.tokenizer, ids)

    def stream(self) -> TextStream:
        """The text of one response, to be given its tokens as they come."""
        return TextStream(self.tokenizer)


def load_model(
    model_id: str, device: str | torch.device = "cpu", dtype: str | None = None
) -> LoadedModel:
    """Loads a model of the catalogue for inference.

    Args:
        model_id: Id in the catalogue.
        device: Where the weights go.
        dtype: "float32" or "bfloat16"; the catalogue's value if None.

    Raises:
        BadInput: unknown model or dtype, weights that are neither on this machine nor can be
            fetched, files that do not fit the catalogue.
    """
    spec = model_spec(model_id)
    torch_dtype = _torch_dtype(dtype or spec.dtype)
    _check_available(spec)
    source = str(spec.local) if spec.local else spec.id
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, revision=spec.revision or "main")
        model = AutoModelForCausalLM.from_pretrained(
            source, revision=spec.revision or "main", dtype=torch_dtype
        )
    except (OSError, ValueError) as error:  # transformers wraps hub and network errors in OSError
        raise BadInput(
            f"The files of {spec.id} cannot be loaded: {_first_line(error)}",
            where=f"revision {spec.revision}" if spec.revision else str(spec.local),
            next=_advice(spec),
        ) from error
    model.to(device)  # type: ignore[arg-type]  # transformers' wrapper hides the signature
    model.eval().requires_grad_(False)
    _check_shape(spec, model)
    return LoadedModel(
        spec=spec,
        model=model,
        tokenizer=tokenizer,
        device=torch.device(device),
        dtype=torch_dtype,
        eos_ids=_eos_ids(model, tokenizer),
        generation_defaults=_generation_defaults(model),
    )


def _token_ids(tokenizer: Any, text: str, *, special: bool) -> list[int]:
    """Token ids of a text, with the special tokens around it if asked for."""
    backend = fast_backend(tokenizer)
    if backend is None or backend.truncation or backend.padding or backend.encode_special_tokens:
        return list(tokenizer(text, add_special_tokens=special)["input_ids"])
    # The same ids without the offsets into the text, which take a third of the time.
    [encoding] = backend.encode_batch_fast([text], add_special_tokens=special)
    return list(encoding.ids)


def _torch_dtype(name: str) -> torch.dtype:
    if name not in DTYPES:
        raise BadInput(
            f"Unknown dtype {name!r}.",
            where="engine.dtype in the study file",
            next=f"Use one of: {', '.join(DTYPES)}. (float16 overflows in Gemma 2.)",
        )
    return DTYPES[name]


def _check_available(spec: ModelSpec) -> None:
    if spec.local is None:
        require_reachable(spec.id, what=spec.id, next=_advice(spec))
    elif not (spec.local / "config.json").is_file():
        raise BadInput(
            f"The shipped model {spec.id} is missing.",
            where=str(spec.local),
            next="Run `make lab` to build it, or check out the lab/ folder again.",
        )


def _advice(spec: ModelSpec) -> str:
    if spec.local:
        return "Run `python -m training verify`, then `make lab` if a file is damaged."
    return (
        f"Accept the licence at https://huggingface.co/{spec.id}, then `hf auth login` or set "
        f"HF_TOKEN; without network, download once with `hf download {spec.id} --revision "
        f"{spec.revision}` and set HF_HUB_OFFLINE=1."
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _check_shape(spec: ModelSpec, model: PreTrainedModel) -> None:
    config: Any = model.config
    for name, expected, found in (
        ("model_type", spec.family, config.model_type),
        ("num_hidden_layers", spec.n_layers, config.num_hidden_layers),
        ("hidden_size", spec.d_model, config.hidden_size),
    ):
        if expected != found:
            raise BadInput(
                f"{spec.id} has {name} {found}, the catalogue says {expected}.",
                where=str(spec.local or spec.id),
                next="Fetch the right revision, or correct pitboss/models/catalogue.py.",
            )


def _eos_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    declared: Any = model.generation_config.eos_token_id if model.generation_config else None
    ids = set(declared if isinstance(declared, list) else [declared])
    ids.add(tokenizer.eos_token_id)
    vocabulary = tokenizer.get_vocab()
    ids.update(vocabulary[token] for token in _TURN_ENDS if token in vocabulary)
    return frozenset(token for token in ids if token is not None)


def _generation_defaults(model: PreTrainedModel) -> dict[str, float]:
    config = model.generation_config
    values = {name: getattr(config, name, None) for name in ("temperature", "top_k", "top_p")}
    return {name: value for name, value in values.items() if value is not None}
