"""Which SAE features differ between bankrupt and stopped games; the bank of those selected."""
