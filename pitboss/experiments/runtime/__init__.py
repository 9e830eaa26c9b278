"""What every experiment stands on: units of work, the loaded model, games played, states read."""
