"""The index of a large session: made once, mapped into memory from then on."""
