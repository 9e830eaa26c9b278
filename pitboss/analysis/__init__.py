"""What the rows say: tables in, tables out, no files, no models."""
