"""What a boot's saved files say: names, formats, counters."""
