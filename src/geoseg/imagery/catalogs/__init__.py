"""Where new imagery is looked for: a drop folder, a STAC API."""
