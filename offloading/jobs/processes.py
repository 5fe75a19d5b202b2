"""What a process needs to know about its relatives: end when the parent ends, carry a name that `ps` and `top` show.

Linux does both with prctl(2). Elsewhere neither happens: such a machine is good for development, not for operation.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15

_parent = 0
_is_bound = False


def end_forks_with_parent() -> None:
    """Have every process that is forked from now on, by this one or by those, killed when its parent ends.

    However the parent ends, by SIGKILL too. Call it, and fork, in the main thread: the system means the parent's
    thread.
    """
    global _is_bound
    if not _is_bound:
        os.register_at_fork(before=_note_parent, after_in_child=_bind_to_parent)
        _is_bound = True


def name(text: str) -> None:
    """Give this process a name of at most 15 bytes."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_NAME, ctypes.c_char_p(text.encode()[:15]), 0, 0, 0)


def _note_parent() -> None:
    global _parent
    _parent = os.getpid()


def _bind_to_parent() -> None:
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != _parent:  # it ended between the fork and the line above
        os._exit(1)
