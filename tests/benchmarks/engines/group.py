"""Processes of a benchmark: started in a group of their own, so that nothing of them is left, however it ends."""

import contextlib
import os
import signal
import subprocess
from pathlib import Path

from tests.journeys.world import descendants

STOP_SECONDS = 15
_TICKS = os.sysconf("SC_CLK_TCK")


_live: list["Group"] = []


class Group:
    """A command with all that it starts."""

    def __init__(self, command: list[str], environment: dict[str, str], log: Path) -> None:
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                env=os.environ | environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=log.parent,
                start_new_session=True,
            )
        _live.append(self)

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait(self, seconds: float) -> int:
        """Wait for its own end; return the exit code."""
        return self._process.wait(seconds)

    def stop(self) -> None:
        """Ask for an end, wait for it, then end all that is left of the group."""
        try:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_SECONDS)
        finally:
            self.kill()

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
        if self in _live:
            _live.remove(self)


def kill_all() -> None:
    """End every group that is left: whoever should have stopped it was interrupted."""
    for group in list(_live):
        group.kill()


def cpu_seconds(pids: list[int]) -> float:
    """Return the CPU time, user and system, that these processes have used so far."""
    found = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            found += int(fields[11]) + int(fields[12])
    return found / _TICKS


def signal_all(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def family(pid: int) -> list[int]:
    return [pid, *descendants(pid)]
