"""Prefect flows: thin, each task one geoseg step."""
