"""Who works on what, held as file locks by the processes that do: workers and units of work."""
