"""The exceptions that cross rooms."""


class UserError(Exception):
    """Something the user can mend: one line that says what is wrong and how to mend it.

    The command line prints it without a traceback and exits with code 2.
    """


class InterruptedRunError(Exception):
    """A run was asked to stop, and its state is saved; the command line exits with code 130."""


class PausedRunError(Exception):
    """A run has come to where it was to pause, and its state is saved."""
