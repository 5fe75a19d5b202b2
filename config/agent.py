"""The agent: the one process of an instance that keeps it in the topology and its work moving, with a thread for each.

Stops in order: the dispatcher first, which lets running jobs end; then the other loops; then the instance leaves.
"""

import logging
import signal
import threading
from collections.abc import Callable

from django.db import connections

from config import housekeeping
from offloading.jobs import configuration, pauses, recovery, timer, upkeep
from offloading.jobs.dispatcher import Dispatcher
from offloading.transport import agent as transport
from topology import heartbeat, identity, services, sessions, wakeup
from topology.connectors import client
from topology.loops import Stop
from workflow import poller

logger = logging.getLogger(__name__)

CANNOT_RUN = 2
_WATCH_SECONDS = 1.0
_LOOP_SECONDS = 5.0
# What this process knows of queues and pauses is dropped when it is told of a change, so it need not look often.
_TOLD_SECONDS = 5.0

Loop = Callable[[threading.Event], None]
LOOPS: dict[str, Loop] = {
    "heartbeat": heartbeat.run,
    "connectors": client.run,
    "upkeep": upkeep.run,
    "timer": timer.run,
    "transport": transport.run,
    "workflow": poller.run,
    "housekeeping": housekeeping.run,
}


def run() -> int:
    """Be the agent until SIGTERM; return the exit code. The run's name must be in the settings."""
    drain, stop = threading.Event(), Stop()
    signal.signal(signal.SIGTERM, lambda *_: drain.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the supervisor too, which stops things in order
    sessions.end_idle_transactions()
    configuration.CACHE_SECONDS = pauses.CACHE_SECONDS = _TOLD_SECONDS
    listener = wakeup.Listener()
    try:
        services.join(identity.runtime_id(), listener.address)
    except services.DuplicateInstance as error:
        logger.error("instance refused", extra={"reason": str(error)})
        return CANNOT_RUN
    recovery.recover_former_runs(sling_id=identity.sling_id(), run_id=identity.runtime_id())
    connections.close_all()
    listener.start()
    return _work(drain, stop, listener)


def _work(drain: threading.Event, stop: threading.Event, listener: wakeup.Listener) -> int:
    dispatcher = Dispatcher(identity.runtime_id())
    feeding = _start("dispatcher", dispatcher.run, drain)
    threads = [feeding, *(_start(name, loop, stop) for name, loop in LOOPS.items())]
    while not drain.wait(_WATCH_SECONDS):
        for thread in threads:
            if not thread.is_alive():
                # Whatever the reason: an agent without one of its parts must not look alive. A new one is started.
                logger.error("agent's thread ended", extra={"loop": thread.name})
                return 1
    dispatcher.wake()
    feeding.join()
    stop.set()
    for thread in threads:
        thread.join(_LOOP_SECONDS)
    services.leave()
    listener.stop()
    return 0


def _start(name: str, loop: Loop, stop: threading.Event) -> threading.Thread:
    thread = threading.Thread(target=_guarded, args=(name, loop, stop), name=name, daemon=True)
    thread.start()
    return thread


def _guarded(name: str, loop: Loop, stop: threading.Event) -> None:
    try:
        loop(stop)
    except Exception:
        logger.exception("agent's thread failed", extra={"loop": name})
    finally:
        connections.close_all()
