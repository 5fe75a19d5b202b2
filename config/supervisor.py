"""The supervisor: starts the three processes of an instance, watches them, starts them anew, and stops them in order.

They are forked from one loaded project, which makes them small and their restart quick, and they end with this process
however it ends. Nothing here touches the database once they run. The listening socket is opened here, so that a taken
port is known before anything starts, and no request is refused while the web process is started anew.
"""

import logging
import os
import signal
import socket
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from django.conf import settings
from django.db import connections

from config import agent, web
from offloading.jobs import processes, slots
from offloading.jobs.backoff import Backoff

logger = logging.getLogger(__name__)

WATCHED = {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
# What is granted to the agent beyond the time that running jobs get, and to the web process for open requests.
_AGENT_SECONDS = 15.0
_WEB_SECONDS = 10.0
# There is nothing to look at in between: every end of a child is a signal.
_LONGEST_WAIT_SECONDS = 3600.0


@dataclass
class Child:
    """One of the three: what it runs, and when it is to be started (None while it runs)."""

    name: str
    main: Callable[[], int]
    pid: int = 0
    start_at: float | None = 0.0
    backoff: Backoff = field(default_factory=Backoff)


class Supervisor:
    """Runs one instance in the foreground, until it is told to stop."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._cluster = Child("cluster", self._be_cluster)
        self._agent = Child("agent", agent.run)
        self._web = Child("web", lambda: web.run(listener))
        self._exit_code: int | None = None

    def run(self) -> int:
        """Keep the children going until SIGTERM; stop them in order; return the exit code."""
        processes.name("runinstance")
        processes.end_forks_with_parent()
        connections.close_all()
        signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)
        self._new_run()
        logger.info("instance starts", extra={"endpoint": settings.OFFLOADING_ENDPOINT, "pid": os.getpid()})
        while self._exit_code is None:
            self._start_due()
            if self._wait_for_signal(self._rest_seconds()):
                self._exit_code = 0
        self._stop()
        logger.info("instance stopped", extra={"exit": self._exit_code})
        return self._exit_code

    # --- Starting -----------------------------------------------------------------------------------------------

    def _children(self) -> tuple[Child, Child, Child]:
        return (self._agent, self._cluster, self._web)

    def _new_run(self) -> None:
        """Name a new run of the instance. What the former one had claimed is no longer held by anything alive."""
        settings.OFFLOADING_RUNTIME_ID = os.environ["OFFLOADING_RUNTIME_ID"] = str(uuid.uuid4())

    def _start_due(self) -> None:
        for child in self._children():
            if child.start_at is not None and child.start_at <= time.monotonic():
                child.start_at = None
                child.backoff.started()
                child.pid = _fork(child)

    def _rest_seconds(self) -> float | None:
        waiting = [child.start_at for child in self._children() if child.start_at is not None]
        return max(min(waiting) - time.monotonic(), 0) if waiting else None

    def _be_cluster(self) -> int:
        self._listener.close()
        slots.Slots(settings.OFFLOADING_WORKERS).run()

    # --- Watching -----------------------------------------------------------------------------------------------

    def _wait_for_signal(self, seconds: float | None) -> bool:
        """Wait for what happens next; return whether it is the wish to stop."""
        received = signal.sigtimedwait(WATCHED, _LONGEST_WAIT_SECONDS if seconds is None else seconds)
        if received is None:
            return False
        if received.si_signo != signal.SIGCHLD:
            return True
        self._collect()
        return False

    def _collect(self) -> None:
        for child, status in self._ended(self._children()):
            code = os.waitstatus_to_exitcode(status)
            if child is self._agent and code == agent.CANNOT_RUN:
                self._exit_code = code
                return
            logger.warning("process ended, starting it anew", extra={"child": child.name, "exit": code})
            child.start_at = time.monotonic() + child.backoff.pause()
            if child is self._agent:
                # Workers would go on with jobs that the new run takes back: they end first.
                self._end_at_once([self._cluster])
                self._cluster.start_at = child.start_at
                self._new_run()

    def _ended(self, children: Iterable[Child]) -> list[tuple[Child, int]]:
        """Collect those of `children` that have ended, with their wait statuses."""
        found = []
        for child in children:
            if child.pid and (status := _reap(child.pid)) is not None:
                child.pid = 0
                found.append((child, status))
        return found

    # --- Stopping -----------------------------------------------------------------------------------------------

    def _stop(self) -> None:
        """Let the agent drain and leave, then end the cluster, then the web process; at once at a second signal."""
        if self._cluster.pid:
            os.kill(self._cluster.pid, signal.SIGTERM)  # the agent's end is that of the slots: none shall be replaced
        is_patient = self._end(self._agent, settings.OFFLOADING_STOP_SECONDS + _AGENT_SECONDS)
        self._end_at_once([self._cluster])
        if is_patient:
            self._end(self._web, _WEB_SECONDS)
        self._end_at_once(self._children())

    def _end(self, child: Child, seconds: float) -> bool:
        """Ask a child to end and wait for it; return False if another signal cut that short."""
        deadline = time.monotonic() + seconds
        if child.pid:
            os.kill(child.pid, signal.SIGTERM)
        while child.pid and (left := deadline - time.monotonic()) > 0:
            received = signal.sigtimedwait(WATCHED, left)
            if received is not None and received.si_signo != signal.SIGCHLD:
                logger.warning("stopping at once")
                return False
            self._ended([child])
        return True

    def _end_at_once(self, children: Iterable[Child]) -> None:
        for child in children:
            if child.pid:
                os.kill(child.pid, signal.SIGKILL)
                os.waitpid(child.pid, 0)
                child.pid = 0


def _fork(child: Child) -> int:
    """Start a child: in a process group of its own, so that Ctrl-C in a terminal reaches the supervisor alone."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        os.setpgid(0, 0)
        processes.name(child.name)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, WATCHED)
        code = child.main()
    except Exception:
        logger.exception("process failed", extra={"child": child.name})
    finally:
        logging.shutdown()
        os._exit(code)


def _reap(pid: int) -> int | None:
    """Return the wait status of a child that has ended, else None."""
    found, status = os.waitpid(pid, os.WNOHANG)
    return status if found else None
