"""SAEs of the lab, trained with sae-lens' own trainer on the tiny models' activations."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from training.activations import Activations


@dataclass(frozen=True, slots=True)
class Dictionary:
    """A JumpReLU SAE on the raw residual stream, with one threshold for all features.

    With x [n, d]: v = x W_enc + b_enc; a = relu(v) where v > threshold; x' = a W_dec + b_dec.

    Attributes:
        W_enc: [d, f]. b_enc: [f]. W_dec: [f, d]. b_dec: [d]. threshold: shared by all features,
            as in Llama Scope.
    """

    W_enc: Tensor
    b_enc: Tensor
    W_dec: Tensor
    b_dec: Tensor
    threshold: float

    def encode(self, x: Tensor) -> Tensor:
        """Activations [n, f]."""
        v = x @ self.W_enc + self.b_enc
        return torch.relu(v) * (v > self.threshold)

    def unexplained(self, x: Tensor) -> float:
        """Fraction of the variance of x [n, d] that the reconstruction leaves unexplained."""
        error = x - (self.encode(x) @ self.W_dec + self.b_dec)
        return float(error.square().sum() / (x - x.mean(0)).square().sum())

    def rescaled(self, factor: float) -> "Dictionary":
        """The same function with all activations times `factor`, decoder rows divided by it."""
        return Dictionary(
            self.W_enc * factor,
            self.b_enc * factor,
            self.W_dec / factor,
            self.b_dec,
            self.threshold * factor,
        )


@dataclass(frozen=True, slots=True)
class DictionaryTraining:
    """Settings; `last_share` of every batch are last prompt tokens, where the study reads."""

    k: float = 12
    samples: int = 1_500_000
    batch: int = 1024
    learning_rate: float = 1e-3
    last_share: float = 0.25
    seed: int = 17


def train_dictionary(
    tokens: Tensor, last: Tensor, features: int, settings: DictionaryTraining
) -> Dictionary:
    """Trains a BatchTopK SAE, which sae-lens saves as JumpReLU.

    Args:
        tokens: [n, d] residual vectors of all positions.
        last: [m, d] residual vectors of last prompt tokens, oversampled.
        features: Number of features.
    """
    from sae_lens import SAE, BatchTopKTrainingSAE, BatchTopKTrainingSAEConfig
    from sae_lens.config import SAETrainerConfig
    from sae_lens.training.sae_trainer import SAETrainer

    torch.manual_seed(settings.seed)
    # Unit mean square per coordinate, the scale that sae-lens' default settings are made for.
    scale = float(tokens.square().mean().rsqrt())
    sae = BatchTopKTrainingSAE(
        BatchTopKTrainingSAEConfig(
            d_in=tokens.shape[1],
            d_sae=features,
            k=settings.k,
            # Decoder norms stay free: as in the real Llama Scope they are not 1.
            rescale_acts_by_decoder_norm=False,
        )
    )
    config = SAETrainerConfig(
        total_training_samples=settings.samples,
        train_batch_size_samples=settings.batch,
        lr=settings.learning_rate,
        lr_end=settings.learning_rate,
        lr_decay_steps=settings.samples // settings.batch // 3,
        dead_feature_window=150,
    )
    SAETrainer(config, sae, _batches(tokens * scale, last * scale, settings)).fit()
    with tempfile.TemporaryDirectory() as folder:
        sae.save_inference_model(folder)
        saved = SAE.load_from_disk(Path(folder), dtype="float32")
    parameters = {name: p.detach().clone() for name, p in saved.named_parameters()}
    W_enc, b_dec = parameters["W_enc"], parameters["b_dec"]
    # Into the raw residual scale, and the decoder bias out of the input (Llama Scope's form).
    return Dictionary(
        W_enc=W_enc * scale,
        b_enc=parameters["b_enc"] - b_dec @ W_enc,
        W_dec=parameters["W_dec"] / scale,
        b_dec=b_dec / scale,
        threshold=float(parameters["threshold"][0]),
    )


def unexplained_by_position(
    dictionary: Dictionary, acts: Activations, layer: int
) -> dict[str, float]:
    """Unexplained variance over all tokens and over last prompt tokens."""
    x = acts.tokens[layer]
    return {"all": dictionary.unexplained(x), "last": dictionary.unexplained(x[acts.last])}


def _batches(tokens: Tensor, last: Tensor, settings: DictionaryTraining) -> Iterator[Tensor]:
    """Endless random batches."""
    rng = torch.Generator().manual_seed(settings.seed)
    n_last = int(settings.batch * settings.last_share)
    while True:
        some = torch.randint(len(tokens), (settings.batch - n_last,), generator=rng)
        decisions = torch.randint(len(last), (n_last,), generator=rng)
        batch = torch.cat([tokens[some], last[decisions]])
        yield batch[torch.randperm(len(batch), generator=rng)]
