"""Memory that the Live Update Orchestrator hands on, and what systemd does with it."""
