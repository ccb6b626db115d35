"""Faults: real processes killed and real files broken in the middle of a run. Linux only."""
