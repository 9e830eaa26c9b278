"""Sparse autoencoders: loading, gates, the bank of selected features, statistics, selection."""
