"""What may be opened and asked for, and on which files an answer depends."""
