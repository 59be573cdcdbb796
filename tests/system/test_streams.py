# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs as people start them: on a terminal, in a pipeline, with connections."""

import contextlib
import fcntl
import os
import pty
import signal
import socket
import subprocess
import termios

from fremtest import lab, program, wait_until


def read_some(fd):
    with contextlib.suppress(OSError):
        return os.read(fd, 65536)
    return b""


def read_until(fd, wanted):
    """What comes out of a terminal or pipe, until it holds what is wanted."""
    got = b""
    while wanted not in got:
        new = read_some(fd)
        assert new, got
        got += new
    return got


def take_terminal():
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def next_line(output):
    """The number of the last whole line."""
    return int(output.replace(b"\r", b"").rsplit(b"\n", 2)[-2].split()[1])


def test_on_a_terminal(stored, victim):
    """A program on a terminal comes back on the terminal of the restart."""
    keyboard, terminal = pty.openpty()
    v = victim(
        "logger", stdin=terminal, stdout=terminal, stderr=terminal, preexec_fn=take_terminal
    )
    os.close(terminal)
    read_until(keyboard, b"line 5\r\n")
    stored.checkpoint(v, "job", "--window", "off")
    seen = next_line(read_until(keyboard, b"\n"))
    v.kill()
    os.close(keyboard)

    keyboard, terminal = pty.openpty()
    restart = stored.restart(
        "job", stdin=terminal, stdout=terminal, stderr=terminal, preexec_fn=take_terminal
    )
    os.close(terminal)
    v.restarted(restart)
    read_until(keyboard, b"line %d\r\n" % (seen + 20))
    v.assert_runs()
    restart.send_signal(signal.SIGTERM)
    while read_some(keyboard):
        pass
    assert restart.wait(20) == 128 + signal.SIGTERM
    os.close(keyboard)


def test_in_a_pipeline(stored, victim):
    """A program that writes into a pipe comes back writing to the restart's standard output."""
    reads, writes = os.pipe()
    v = victim("logger", stdout=writes)
    os.close(writes)
    read_until(reads, b"line 5\n")
    stored.checkpoint(v, "job", "--window", "off")
    v.kill()
    os.close(reads)

    restart = stored.restart("job")
    v.restarted(restart)
    first = read_until(restart.stdout.fileno(), b"\n")
    assert first.startswith(b"line ")
    read_until(restart.stdout.fileno(), b"line %d\n" % (next_line(first) + 20))
    restart.send_signal(signal.SIGTERM)
    assert stored.finish(restart).code == 128 + signal.SIGTERM


def port_of(v):
    with open(v.status, encoding="utf-8") as f:
        return int(next(line for line in f if line.startswith("port ")).split()[1])


def echo(connection, text):
    connection.settimeout(10)
    connection.sendall(text)
    return connection.recv(100)


def test_listening_socket_comes_back(stored, victim):
    """Connections end as after a crash; the program is there again for new ones."""
    v = victim("tcp_echo")
    address = ("127.0.0.1", port_of(v))
    with socket.create_connection(address) as connection:
        assert echo(connection, b"before") == b"before"
        stored.checkpoint(v, "job", "--window", "off")
        assert echo(connection, b"after") == b"after", "the checkpoint cost the connection"
        v.kill()
        restart = stored.restart("job")
        v.restarted(restart)
        with contextlib.suppress(OSError):
            assert echo(connection, b"dead") == b""
    with socket.create_connection(address) as connection:
        assert echo(connection, b"again") == b"again"
    v.assert_runs()
    v.kill()
    stored.finish(restart)


def test_connections_survive(stored, victim):
    """--tcp established: stopped and restarted, and the client has noticed a pause only."""
    v = victim("tcp_echo")
    with socket.create_connection(("127.0.0.1", port_of(v))) as connection:
        assert echo(connection, b"before") == b"before"
        stored.checkpoint(v, "job", "--stop", "--tcp", "established")
        v.wait_for_end({v.pid})
        restart = stored.restart("job")
        v.restarted(restart)
        assert echo(connection, b"after") == b"after"
        v.kill()
        stored.finish(restart)


def test_shell_pipeline(stored, tmp_path):
    """A whole shell pipeline, started by a shell, is one job."""
    out = tmp_path / "out"
    script = f"{program('logger')} {tmp_path}/status | grep --line-buffered line >>{out}; exit 7"
    shell = subprocess.Popen(
        ["sh", "-c", script], stdin=subprocess.DEVNULL, start_new_session=True
    )
    try:
        wait_until("output", lambda: out.exists() and out.stat().st_size > 100)
        stored.checkpoint(shell.pid, "job", "--window", "off")
        lab.kill_tree(shell.pid)
        shell.returncode = -signal.SIGKILL
        restart = stored.restart("job")
        size = out.stat().st_size
        wait_until("the pipeline to go on", lambda: out.stat().st_size > size + 200)
        loggers = [p for p, (_, _, n) in lab.descendants(restart.pid).items() if n == "logger"]
        os.kill(loggers[0], signal.SIGTERM)
        assert stored.finish(restart).code == 7
    finally:
        if shell.poll() is None:
            lab.kill_tree(shell.pid)
    lines = out.read_text().splitlines()
    assert lines == [f"line {i}" for i in range(len(lines))]
