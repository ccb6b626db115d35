"""How runs and their input stand, for people who look: status, metrics, trace, preview."""
