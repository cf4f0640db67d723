"""The compiled loops; see ``native.h`` for what they may assume."""
