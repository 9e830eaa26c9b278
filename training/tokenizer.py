"""Byte-level BPE tokenizers of the lab, with the special tokens of the real families."""

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from pitboss.errors import BadInput
from pitboss.models.catalogue import ModelSpec
from training.transcripts import Transcript

# The split of Llama 3: words with their leading space, numbers in groups of up to three digits,
# punctuation, line breaks.
_SPLIT = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+|\s*[\r\n]+|\s+(?!\S)|\s+"

# Every amount of money that is common in games becomes one token, so that even four small layers
# can copy a balance and compare it with a bet.
_AMOUNTS = [str(amount) for amount in range(5, 405, 5)]
_AMOUNT_WEIGHT = 100

_SPECIAL = {
    "llama": ("<|begin_of_text|>", "<|end_of_text|>", "<|finetune_right_pad_id|>", ()),
    "gemma2": ("<bos>", "<eos>", "<pad>", ("<start_of_turn>", "<end_of_turn>")),
}

# Gemma 2's own turn format; like the original it strips the message.
_GEMMA_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% set role = 'model' if message['role'] == 'assistant' else message['role'] %}"
    "{{ '<start_of_turn>' + role + '\\n' + message['content'] | trim + '<end_of_turn>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}"
)


def train_tokenizer(spec: ModelSpec, texts: list[Transcript]) -> PreTrainedTokenizerFast:
    """Trains the tokenizer of one lab model to exactly `spec.vocab_size` tokens.

    Raises:
        BadInput: the texts hold too few distinct words for that many tokens.
    """
    bos, eos, pad, turns = _SPECIAL[spec.family]
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=spec.vocab_size,
        special_tokens=[bos, eos, pad, *turns],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    corpus = [text for x in texts for text in (x.prompt, x.response)]
    bpe.train_from_iterator([*corpus, *_AMOUNTS * _AMOUNT_WEIGHT], trainer)
    if bpe.get_vocab_size() != spec.vocab_size:
        raise BadInput(
            f"The texts give {bpe.get_vocab_size()} tokens, {spec.id} has {spec.vocab_size}.",
            where="lab tokenizer",
            next="Draw more varied transcripts, or change vocab_size in the catalogue.",
        )
    bpe.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A", special_tokens=[(bos, bpe.token_to_id(bos))]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token=bos,
        eos_token=eos,
        pad_token=pad,
        additional_special_tokens=list(turns),
        model_max_length=spec.max_positions,
        padding_side="left",
    )
    if spec.chat_template:
        tokenizer.chat_template = _GEMMA_TEMPLATE
    return tokenizer


def end_of_response(spec: ModelSpec) -> str:
    """The token that ends a response."""
    return "<end_of_turn>" if spec.chat_template else _SPECIAL[spec.family][1]
