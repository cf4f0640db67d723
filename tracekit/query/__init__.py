"""What is asked of events: expressions, matching, groups, sorting, selections."""
