"""What Prefect retries, caches and shows. Thin: no mathematics here."""
