"""Many runs: handovers as figures, compared by name, held against a budget."""
