"""The answer: phases, devices, losses, from observations that are gathered once."""
