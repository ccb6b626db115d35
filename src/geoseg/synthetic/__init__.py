"""A season of farmland made by geoseg itself: seeded, of any size, with the whole truth known."""

from __future__ import annotations

from geoseg.synthetic.phenology import LEGEND
from geoseg.synthetic.spec import SceneSpec
from geoseg.synthetic.writer import SyntheticScene, write_scene

__all__ = ["LEGEND", "SceneSpec", "SyntheticScene", "write_scene"]
