"""Memory of GPUs that are shared: surveys, thresholds, history, and the guard of a running job."""
