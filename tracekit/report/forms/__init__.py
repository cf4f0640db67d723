"""The report in the forms of other tools: metrics and traces."""
