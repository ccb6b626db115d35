"""Prediction of a whole grid: blocks, from reading to receipt, here or on a Dask cluster."""
