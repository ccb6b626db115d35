"""Commands that ``cli`` has no room for: each parses, calls one function and prints."""
