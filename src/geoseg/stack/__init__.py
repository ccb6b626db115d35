"""The local stack: Prefect server and worker, Dask scheduler and workers, as processes of this machine.

``python -m geoseg.stack up`` starts them under supervisord, which starts again what dies; ``down``
stops them. All listen on 127.0.0.1 only; what they need to know of each other is in one folder.
"""
