"""Pitboss: experiments on gambling behaviour inside language models, on a shared floor of GPUs."""

__version__ = "0.1.0"
