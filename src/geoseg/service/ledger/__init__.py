"""The ledger: what was seen, what was ordered, and how it ended."""
