"""Measurements: ours against the alternatives, in one run on the machine at hand."""
