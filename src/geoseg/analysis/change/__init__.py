"""Two maps of one grid compared."""
