"""`python -m tests.topology.agent`: an agent with the topology's own loops and nothing else, until SIGTERM."""

import signal
import threading

import django
from django.db import connections


def main() -> None:
    django.setup()
    from topology import heartbeat, identity, services, wakeup
    from topology.connectors import client

    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    listener = wakeup.Listener()
    services.join(identity.runtime_id(), listener.address)
    # The connection of this thread would grow old while it waits.
    connections.close_all()
    listener.start()
    threads = [threading.Thread(target=loop, args=(stop,)) for loop in (heartbeat.run, client.run)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    services.leave()
    listener.stop()


if __name__ == "__main__":
    main()
