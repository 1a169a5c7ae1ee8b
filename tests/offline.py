"""Processes in which the network is forbidden, and whatever asks for it is written down.

An audit hook sees what Python's sockets do, in each process that is started, trials and loader
workers among them.
"""

import os
from pathlib import Path

HOOK = """
import os, sys

LOCAL = {"", "localhost", "127.0.0.1", "::1", "0.0.0.0", "::"}
LOOK_UPS = {"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"}
TALKS = {"socket.connect", "socket.sendto", "socket.sendmsg", "socket.getnameinfo"}

def forbid(event, args):
    if event in LOOK_UPS:
        host = args[0]
    elif event in TALKS:
        address = args[0] if event == "socket.getnameinfo" else args[1]
        host = address[0] if isinstance(address, tuple) else ""  # else a socket of this machine
    else:
        return
    host = host.decode() if isinstance(host, bytes) else host or ""
    if host not in LOCAL and not host.startswith("127."):
        with open(os.environ["OFFLINE_LOG"], "a") as log:
            log.write(f"{event} {host}\\n")
        raise OSError(101, f"the network is forbidden here: {event} {host}")

with open(os.environ["OFFLINE_LOG"], "a") as log:
    log.write(f"process {os.getpid()}\\n")
sys.addaudithook(forbid)
"""


def environment(folder: Path) -> dict[str, str]:
    """Variables of a process whose every child is watched too."""
    (folder / "hook").mkdir()
    (folder / "hook" / "sitecustomize.py").write_text(HOOK)
    path = os.pathsep.join(filter(None, (str(folder / "hook"), os.environ.get("PYTHONPATH"))))
    return os.environ | {"PYTHONPATH": path, "OFFLINE_LOG": str(folder / "offline.log")}


def told(folder: Path) -> tuple[int, list[str]]:
    """How many processes were watched, and what they asked of the network."""
    lines = (folder / "offline.log").read_text().splitlines()
    asked = [line for line in lines if not line.startswith("process ")]
    return len(lines) - len(asked), asked
