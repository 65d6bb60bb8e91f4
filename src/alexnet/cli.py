"""The command line: what surrounds every verb; exit codes and one-line errors."""

import signal
import sys
import threading
from typing import Any

import click

from alexnet.errors import InterruptedRunError, PartnerLostError, UserError, within_memory
from alexnet.process import leave_terminal, set_up_process, signals_to_stop
from alexnet.progress import complain
from alexnet.verbs import verbs

_PARTNER_LOST = 1  # not the user's mistake: torchrun may start all processes again
_USER_ERROR = 2
_INTERRUPTED = 130


def main() -> None:
    """Run the command line; exit codes 0 done, 2 the user can mend it, 130 interrupted."""
    debug = "--debug" in sys.argv
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    code = run(arguments, debug)
    if "alexnet.parallel.failure" in sys.modules:
        from alexnet.parallel.failure import end_at_once

        end_at_once(code)
    sys.exit(code)


def run(arguments: list[str], debug: bool = False) -> int:
    """Run a command and return its exit code."""
    set_up_process()
    _end_on_signals()
    try:
        with within_memory():
            verbs.main(args=arguments, prog_name="alexnet", standalone_mode=False)
    except click.exceptions.Exit as leave:
        return leave.exit_code
    except (UserError, click.ClickException) as error:
        if debug:
            raise
        text = error.format_message() if isinstance(error, click.ClickException) else str(error)
        return _complain(" ".join(text.split()), _USER_ERROR)
    except PartnerLostError as lost:
        return _complain(str(lost), _PARTNER_LOST)
    except InterruptedRunError as stopped:
        return _complain(str(stopped), _INTERRUPTED)
    except (KeyboardInterrupt, click.Abort):
        return _complain("interrupted", _INTERRUPTED)
    except BrokenPipeError:  # the reader of our output left, as `head` does
        sys.stderr.close()
        return 0
    except OSError as error:  # a place that the user named is not what it must be
        if debug or error.filename is None:
            raise
        return _complain(f"{error.filename}: {error.strerror}; name another place", _USER_ERROR)
    return 0


def _complain(line: str, code: int) -> int:
    complain(line)
    return code


def _end_on_signals() -> None:
    """SIGTERM and a closed terminal end like Ctrl-C; the training loop answers between steps."""

    def interrupt(number: int, frame: Any) -> None:
        if number == signal.SIGHUP:
            leave_terminal()
        raise KeyboardInterrupt

    if threading.current_thread() is threading.main_thread():
        for number in signals_to_stop():
            if number != signal.SIGINT:  # has this meaning already
                signal.signal(number, interrupt)
