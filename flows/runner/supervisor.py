"""A command in a child process, and a parent that ends it in an orderly way within seconds.

A signal may come while a library is imported, while the embedded server starts or while a thread
holds a lock, where no handler of the same process can be relied on. So the command runs in a child
with a session of its own, which the terminal's signals do not reach. Its parent, which has loaded
nothing, gets them, asks the child once to end, kills what is left after the grace, and says in one
line what happened.
"""

from __future__ import annotations

import os
import select
import signal
import stat
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import NoReturn

from flows.runner.kill_with_parent import adopt_orphans, end_descendants

# What ends a command from outside, in words. SIGPIPE stands for a reader who closed the output.
ENDINGS: dict[int, str] = {
    signal.SIGINT: "interrupted",
    signal.SIGTERM: "terminated",
    signal.SIGHUP: "the terminal was closed",
    signal.SIGQUIT: "ended from the keyboard",
    signal.SIGPIPE: "whoever read the output has stopped reading",
}
_RESUMABLE = "; what was finished is kept, the next run goes on"
# An interrupt is to be over within five seconds; killing and telling take the rest.
_GRACE_SECONDS = 3.2
_RESULTS = (0, 3)  # exit codes of a command that came to its end
_CLEAN_LINE = b"\r\x1b[K\x1b[?25h"  # of what a key echoed, with the cursor shown

_supervisor: int | None = None
_ended_by = 0


def process_id() -> int:
    """Return the process that a person sees and may end: the supervisor, where there is one."""
    return _supervisor or os.getpid()


def is_ending() -> bool:
    """Return whether this process has been ended from outside, and unwinds."""
    return bool(_ended_by)


def supervised(work: Callable[[], object], *, resumes: bool) -> int:
    """Return the exit code of `work`, run in a child process, or 128 + n where signal n ended it;
    the line about that says whether the same work `resumes` later.

    `work` ends by `SystemExit`. A signal of `ENDINGS` that was ignored before, as `nohup` has it,
    stays ignored. Nothing that the child started outlives an end from outside.
    """
    handled = [n for n in ENDINGS if n != signal.SIGPIPE and signal.getsignal(n) != signal.SIG_IGN]
    signal.pthread_sigmask(signal.SIG_BLOCK, handled)
    read_end, write_end = os.pipe()
    parent, child = os.getpid(), os.fork()
    if child == 0:
        os.close(write_end)
        _run(work, read_end, parent)
    os.close(read_end)
    return _Parent(child, handled, _RESUMABLE if resumes else "").exit_code()


class _Parent:
    """The parent's view of its child: what ends it from outside, and its exit code."""

    def __init__(self, child: int, handled: list[int], later: str) -> None:
        self._child, self._cause, self._later = child, 0, later
        self._code: int | None = None
        self._wake, wakes = os.pipe()
        for end in (self._wake, wakes):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
        self._poll = select.poll()
        self._poll.register(self._wake, select.POLLIN)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in handled:
            signal.signal(number, self._note)
        adopt_orphans()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, handled)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self._cause = self._cause or number

    def exit_code(self) -> int:
        """Return the exit code once the child has ended; see `supervised`."""
        import psutil  # noqa: F401 - while the child works, since the end has no time for it

        piped = _is_pipe(1)
        if piped:
            self._poll.register(1, 0)  # tells when its reader has gone
        while not self._ended() and not self._cause:
            self._wait(None)
        if piped:
            self._poll.unregister(1)
        if self._cause and not self._ended():
            # Once, however often a key is pressed.
            with suppress(ProcessLookupError):
                os.kill(self._child, signal.SIGINT)
            latest = time.monotonic() + _GRACE_SECONDS
            while not self._ended() and (left := latest - time.monotonic()) > 0:
                self._wait(1000 * left)
        return self._conclude()

    def _wait(self, milliseconds: float | None) -> None:
        """Wait for a signal, the child's end or the end of whoever reads the output."""
        if any(place == 1 for place, _ in self._poll.poll(milliseconds)):
            self._cause = self._cause or signal.SIGPIPE
        with suppress(BlockingIOError):
            os.read(self._wake, 4096)

    def _ended(self) -> bool:
        """Return whether the child has ended; orphans that were adopted are taken note of, too."""
        with suppress(ChildProcessError):
            while self._code is None:
                process, status = os.waitpid(-1, os.WNOHANG)
                if process == 0:
                    return False
                if process == self._child:
                    self._code = os.waitstatus_to_exitcode(status)
        return True

    def _conclude(self) -> int:
        """Return the exit code, after one line where it came from outside.

        A child that came to its end all the same has its own exit code.
        """
        code = 1 if self._code is None else self._code
        if code in _RESULTS:
            return code
        number = self._cause or (-code if code < 0 else code - 128)
        end_descendants()
        if number not in ENDINGS and code >= 0:
            return code
        if number in ENDINGS:
            _print_error(f"{ENDINGS[number]}{self._later}")
        else:
            _print_killed("killed", number, self._later)
        return 128 + number


def print_killed(what: str, number: int) -> None:
    """Say on stderr that `what`, which a run needs, was killed by a signal."""
    _print_killed(f"{what} was killed", number, _RESUMABLE)


def _print_killed(was: str, number: int, later: str) -> None:
    hint = "; out of memory is the usual cause" if number == signal.SIGKILL else ""
    _print_error(f"{was} by signal {number}{hint}{later}")


def _print_error(text: str) -> None:
    clean = _CLEAN_LINE if os.isatty(2) else b""
    with suppress(OSError):
        os.write(2, clean + f"safereact: {text}\n".encode())


def _is_pipe(place: int) -> bool:
    try:
        mode = os.fstat(place).st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


def _run(work: Callable[[], object], read_end: int, parent: int) -> NoReturn:
    """Do the work in the child; ended from outside, do nothing more than what unwinding does."""
    global _supervisor
    _supervisor = parent
    os.setsid()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, list(ENDINGS))
    threading.Thread(target=_end_with_parent, args=(read_end,), daemon=True).start()
    try:
        work()
        sys.exit()
    except BaseException as error:
        if not _ended_by:
            failed = isinstance(error, SystemExit) and error.code not in (None, *_RESULTS)
            if _flushed(said=failed):
                raise
            os._exit(1)
        code = error.code if isinstance(error, SystemExit) else None
        # What libraries do at exit takes seconds, and the supervisor ends what is left.
        os._exit(int(str(code)) if code in _RESULTS else 128 + _ended_by)


def _flushed(*, said: bool) -> bool:
    """Return whether all output could be written; a full disk is told of, as anywhere else, unless
    it was `said` already why the command failed."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os._exit(128 + signal.SIGPIPE)
    except OSError as error:
        if not said:
            _print_error(f"the output cannot be written: {error.strerror}")
        return False
    return True


def _interrupt(number: int, _frame: FrameType | None) -> None:
    """Raise `KeyboardInterrupt` once, and let libraries say no more of it: the parent speaks."""
    global _ended_by
    if not _ended_by:
        _ended_by = number
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        raise KeyboardInterrupt


def _end_with_parent(read_end: int) -> None:
    """Kill this process and its group, the embedded server among it, when the parent has died."""
    while os.read(read_end, 1):
        pass
    os.killpg(0, signal.SIGKILL)
