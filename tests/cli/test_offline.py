"""Local work asks no host for anything; what needs a folder of images is in test_names.py."""

import json
import subprocess
import sys

import offline

PROGRAM = """
import json, sys
from batchmix.cli import main

if __name__ == "__main__":
    codes = []
    for argv in json.loads(sys.argv[1]):
        try:
            main(argv)
        except SystemExit as stop:
            codes.append(stop.code)
    print("codes", *codes, file=sys.stderr)
"""
CODE = """
def mix(x, y):
    return x[::-1].copy(), y[::-1].copy()
"""


def watched(tmp_path, *commands):
    """Exit codes, the number of processes, and what they asked of the network."""
    words = [[str(word) for word in argv] for argv in commands]
    (tmp_path / "program.py").write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, tmp_path / "program.py", json.dumps(words)],
        env=offline.environment(tmp_path), cwd=tmp_path, capture_output=True, text=True,
        timeout=580,
    )  # fmt: skip
    last = done.stderr.splitlines()[-1].split()
    assert last[0] == "codes", done.stderr
    return [int(code) for code in last[1:]], *offline.told(tmp_path), done.stderr


def test_what_asks_the_network_is_seen(tmp_path):
    """In a child too, and by name or number."""
    code = """
import subprocess, sys
for what in ('getaddrinfo("example.com", 80)', 'create_connection(("192.0.2.1", 9))'):
    subprocess.run([sys.executable, "-c", f"import socket; socket.{what}"], stderr=-3)
"""
    subprocess.run([sys.executable, "-c", code], env=offline.environment(tmp_path), check=True)
    processes, asked = offline.told(tmp_path)
    assert processes == 3
    assert asked == ["socket.getaddrinfo example.com", "socket.getaddrinfo 192.0.2.1"]


def test_commands_without_a_folder(tmp_path):
    (tmp_path / "mine.py").write_text(CODE)
    codes, _, asked, said = watched(
        tmp_path,
        ["preview", "digits", "--out", "one", "--quiet"],
        ["stats", "mixup:0.2", "--size", "8"],
        ["audit", "mine.py:mix", "--calls", 2, "--quiet"],
        ["bench", "--shape", "4x3x8x8", "--seconds", 0],
        ["train", "digits", "--epochs", "1", "--limit-train", "60", "--quiet", "--out", "run"],
        ["--version"],
    )
    assert asked == []
    assert codes == [0, 0, 1, 0, 0, 0], said
