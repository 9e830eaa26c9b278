"""Results as a person reads them: figures, tables, the summary."""
