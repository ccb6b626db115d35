"""What several test files share: servers, processes, made input, readers of results."""
