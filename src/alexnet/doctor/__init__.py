"""The doctor: what is wrong with an installation, a data set or a run, and how to mend it."""
