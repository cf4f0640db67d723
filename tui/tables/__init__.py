"""The view of tables by CPU, task, event, device and initcall."""
