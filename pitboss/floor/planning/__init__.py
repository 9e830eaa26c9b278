"""Where a study's experiments may run: footprints, durations, options, and a person's decision."""
