"""Language models: which ones the house knows, how they load, and what is checked first."""
