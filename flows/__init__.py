"""What a person triggers: one file for each experiment, each read like the plan."""
