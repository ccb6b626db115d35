"""Each parcel's crop by the map, and the check of what was declared."""
