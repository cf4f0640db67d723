"""Many runs: two beside each other, and a fleet."""
