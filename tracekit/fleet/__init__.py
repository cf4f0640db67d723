"""A fleet: the handovers of many sessions in one Parquet dataset, and what it answers."""
