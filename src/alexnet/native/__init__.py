"""Loops worth compiling: small C files, built where they run, with another way everywhere else."""
