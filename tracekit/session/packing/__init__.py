"""How what a session holds is packed: compression, empty pages left out, archives."""
