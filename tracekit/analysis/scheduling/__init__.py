"""What the scheduler did: switches, turns of CPUs, states of tasks, wakeups."""
