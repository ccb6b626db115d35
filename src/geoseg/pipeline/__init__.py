"""What runs, step by step. Flows and the command line call these and nothing below them."""
