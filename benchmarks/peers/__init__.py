"""One small runner per peer: the same scene and weights, mapped the way that library's users do it.

`python -m benchmarks.peers.NAME --imagery DIR --bundle DIR --out MAP.tif` in the peer's own
environment (NAME.txt beside the runner). Nothing of geoseg is imported.
"""
