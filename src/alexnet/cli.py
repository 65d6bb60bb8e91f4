"""The command line: what surrounds every verb; exit codes and one-line errors."""

import errno
import os
import signal
import sys
import traceback

import click

from alexnet.errors import (
    InterruptedRunError,
    PartnerLostError,
    SaidAlreadyError,
    UserError,
    within_memory,
)
from alexnet.process import interrupt, set_up_process, signals_to_stop
from alexnet.progress import complain, heard_or_not, nowhere
from alexnet.verbs import verbs

_PARTNER_LOST = 1  # not the user's mistake: torchrun may start all processes again
_USER_ERROR = 2
_INTERRUPTED = 130
_COMPLETION = "_ALEXNET_COMPLETE"  # what a shell sets that asks how a line may go on


def main() -> None:
    """Run the command line; exit codes 0 done, 2 the user can mend it, 130 interrupted."""
    debug = "--debug" in sys.argv
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    code = run(arguments, debug)
    with heard_or_not():  # what a library has said in vain would change the code as Python ends
        sys.stderr.flush()
    if "alexnet.parallel.failure" in sys.modules:
        from alexnet.parallel.failure import end_at_once

        end_at_once(code)
    sys.exit(code)


def run(arguments: list[str], debug: bool = False) -> int:
    """Run a command and return its exit code."""
    if sys.platform == "win32":  # locks, signals and processes are those of POSIX
        return _complain("Windows is not supported by itself; run it in WSL", _USER_ERROR)
    set_up_process()
    if sys.stderr is None:  # it was closed before the start
        sys.stderr = nowhere()
    _end_on_signals()
    try:
        with within_memory():
            _call(arguments)
    except click.exceptions.Exit as leave:
        return leave.exit_code
    except (UserError, click.ClickException) as error:
        if debug:
            _show_traceback()
        text = error.format_message() if isinstance(error, click.ClickException) else str(error)
        code = _complain(" ".join(text.split()), _USER_ERROR)
        if not isinstance(error, SaidAlreadyError):
            _end_partners()
        return code
    except PartnerLostError as lost:
        return _complain(str(lost), _PARTNER_LOST)
    except InterruptedRunError as stopped:
        return _complain(str(stopped), _INTERRUPTED)
    except (KeyboardInterrupt, click.Abort):
        return _complain("interrupted", _INTERRUPTED)
    except BrokenPipeError:  # the reader of our output left, as `head` does
        _drop_output()
        return 0
    except OSError as error:  # a place that the user named is not what it must be
        if error.filename is None and error.errno != errno.ENOSPC:
            raise
        if debug:
            _show_traceback()
        if error.filename is None:
            _drop_output()
            return _complain("the output's disk is full; free some space", _USER_ERROR)
        return _complain(f"{error.filename}: {error.strerror}; name another place", _USER_ERROR)
    return 0


def _call(arguments: list[str]) -> None:
    """As click's `main`, which ends a command whose output nobody reads by itself, with code 1."""
    if instruction := os.environ.get(_COMPLETION):
        from click.shell_completion import shell_complete

        raise click.exceptions.Exit(shell_complete(verbs, {}, "alexnet", _COMPLETION, instruction))
    with verbs.make_context("alexnet", [*arguments]) as context:
        verbs.invoke(context)


def _drop_output() -> None:
    """Forget what could not be written: Python would try once more as it ends, with code 120."""
    sys.stdout = nowhere()


def _show_traceback() -> None:
    with heard_or_not():
        traceback.print_exc()


def _complain(line: str, code: int) -> int:
    """Say why this process ends; torchrun's signal to one that is ending is no news."""
    if "RANK" in os.environ:
        for number in signals_to_stop():
            signal.signal(number, signal.SIG_IGN)
    complain(line)
    return code


def _end_partners() -> None:
    """No restart by torchrun mends a mistake, also one found before the processes have met."""
    if "RANK" in os.environ:
        from alexnet.parallel.world import forbid_restart, may_be_restarted, started_size

        if started_size() > 1 and may_be_restarted():
            forbid_restart()


def _end_on_signals() -> None:
    """SIGTERM and a closed terminal end like Ctrl-C; the training loop answers between steps."""
    for number in signals_to_stop():
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, interrupt)
