"""Programs that print records: made of expressions once a format, run in C over many records."""
