"""The ways memory survives the jump."""
