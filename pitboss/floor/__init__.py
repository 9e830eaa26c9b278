"""The floor: the GPUs of a shared machine, who sits at them, and what we may place there."""
