"""Measurements: ours against the alternatives, in one run on the machine at hand.

`python -m bench all` measures everything; see docs/benchmarks.md.
"""
