"""Where the time went call by call and wait by wait: the blame, and the critical chain."""
