"""The update rule, the schedules, the loop, its checkpoints, and a run as a whole."""
