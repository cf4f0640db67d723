"""The target half: saving what is needed before the jump and fetching it after."""
