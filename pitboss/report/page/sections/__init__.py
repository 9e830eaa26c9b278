"""The page's sections, one a file: `build(book)` returns it, or None where a study has none."""
