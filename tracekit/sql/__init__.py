"""SQL over a session, by DuckDB: its tables, the database, results as text and files."""
