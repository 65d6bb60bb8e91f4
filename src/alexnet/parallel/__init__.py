"""Where a process runs: the only room that looks at the machine."""
