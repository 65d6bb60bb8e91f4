"""What the paper claims, each claim as a command: `alexnet reproduce CLAIM`."""
