"""What is asked of a finished map: parcels, change, points whose class is known."""
