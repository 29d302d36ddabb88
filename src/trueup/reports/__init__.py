"""Facts as values, then as text, HTML and CSV."""
