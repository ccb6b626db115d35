"""Benchmarks: `python -m benchmarks.predict` from the repository's root. Linux only."""
