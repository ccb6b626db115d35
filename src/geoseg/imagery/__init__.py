"""From named files to a clean cube and its features."""
