"""Studies: what to run, validated, expanded to exact numbers and fingerprinted."""
