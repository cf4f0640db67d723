"""The view of lanes over time."""
