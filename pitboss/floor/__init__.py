"""The GPUs of a shared machine: who holds their memory, and what of ours may run where."""
