"""Tests mirror the package: ``tests/engine/test_stitch.py`` is of ``geoseg/engine/stitch.py``."""
