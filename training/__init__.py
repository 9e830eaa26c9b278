"""The lab: tiny models and SAEs, really trained, so that every experiment runs without a download.

`python -m pitboss.lab build` makes everything under `lab/`: a noisy loss-chasing gambler writes
transcripts over the real prompts (`gambler`, `transcripts`), tokenizers and two small models are
trained on them (`tokenizer`, `models`, `training`), the models play (`player`), SAEs are trained on
their activations with sae-lens (`activations`, `dictionary`), features with a known effect are
planted (`planted`, `directions`), and all of it is written out with hashes (`export`, `manifest`).
"""
