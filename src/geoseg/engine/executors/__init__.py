"""Where blocks are predicted: threads of this process, or the workers of a Dask cluster."""
