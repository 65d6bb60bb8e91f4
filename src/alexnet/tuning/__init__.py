"""Search: which rate, which settings, in how much time."""
