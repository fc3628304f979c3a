"""Agents by fork: a process that has loaded the agent once makes a new one in a few milliseconds, to be killed at will.

    start CONFIG LOG -> PID      kill PID -> killed
Run as ``python -m tests.kills.forker`` in the tree whose agent is meant; ends, with its agents, when its input ends.
"""

import os
import signal
import sys
import traceback

import transports.udp  # noqa: F401  # loaded here so that no agent has to
from edge_agent import cli


def main() -> None:
    living: set[int] = set()
    for line in sys.stdin:
        word, *rest = line.split()
        if word == "start":
            pid = os.fork()
            if pid == 0:
                _become_agent(*rest)
            living.add(pid)
            print(pid, flush=True)
        else:
            _kill(int(rest[0]), living)
            print("killed", flush=True)
    for pid in list(living):
        _kill(pid, living)


def _become_agent(config: str, log: str) -> None:
    """Never returns: this process is the agent now."""
    status = 1
    try:
        for target, path, flags in ((0, os.devnull, os.O_RDONLY), (1, os.devnull, os.O_WRONLY), (2, log, _APPEND)):
            descriptor = os.open(path, flags, 0o600)
            os.dup2(descriptor, target)
            os.close(descriptor)
        status = cli.main(["run", config, "--log", "json"])
    finally:
        if sys.exc_info()[0] is not None:
            traceback.print_exc()  # into the log: nobody above sees it
        os._exit(status)


def _kill(pid: int, living: set[int]) -> None:
    if pid in living:
        living.discard(pid)
        os.kill(pid, signal.SIGKILL)  # a process that ended by itself waits here to be collected
        os.waitpid(pid, 0)


_APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND

if __name__ == "__main__":
    main()
