#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Takes the cost of a demand fetch apart: link idle and full, by congestion control and server.

    bench/fetch_latency.py [--link RTT_MS,MB_S]... [--congestion NAME]... [--server NAME]... [--n N]

Servers: frem (`frem serve`), and nginx over TLS speaking HTTP/1.1 (http1) or HTTP/2 (http2).
"""

import argparse
import json
import os
import socket
import subprocess
import tempfile

import lab

SIZE = 200_000_000
FRAME = 131072
PROGRAM = os.path.join(lab.BUILD, "bench", "fetch_latency")


NGINX = """daemon off; user root; worker_processes 1; pid {d}/pid; error_log {d}/error;
events {{ worker_connections 256; }}
http {{
  access_log off; root {root}; sendfile on; keepalive_requests 100000;
  client_body_temp_path {d}/t1; proxy_temp_path {d}/t2; fastcgi_temp_path {d}/t3;
  uwsgi_temp_path {d}/t4; scgi_temp_path {d}/t5;
  ssl_certificate {d}/cert; ssl_certificate_key {d}/key;
  server {{ listen {ip}:8443 ssl; }}
  server {{ listen {ip}:8444 ssl http2; }}
}}
"""


class Nginx:
    """nginx over TLS, for a directory."""

    def __init__(self, root, ip, namespace, http2):
        self.url = f"https://{ip}:{8444 if http2 else 8443}"
        self.directory = tempfile.TemporaryDirectory(prefix="frem-bench-")
        d = self.directory.name
        os.environ["CURL_CA_BUNDLE"] = f"{d}/cert"
        command = (
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 "
            f"-subj /CN=bench -addext subjectAltName=IP:{ip} -keyout {d}/key -out {d}/cert"
        )
        subprocess.run(command.split(), check=True, capture_output=True)
        with open(f"{d}/conf", "w", encoding="utf-8") as f:
            f.write(NGINX.format(d=d, root=root, ip=ip))
        self.process = subprocess.Popen(
            lab.within(namespace, ["/usr/sbin/nginx", "-c", f"{d}/conf"]),
            stderr=subprocess.DEVNULL,
            preexec_fn=lab.die_with_parent,
        )

        def listens():
            with lab.network_of(namespace), socket.socket() as s:
                return s.connect_ex((ip, 8444)) == 0

        lab.wait_until("nginx", listens)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        lab.end_process(self.process)
        self.directory.cleanup()


def serve(root, server, hosts):
    if server == "frem":
        return lab.Served(root, hosts.ip_a, hosts.a)
    return Nginx(root, hosts.ip_a, hosts.a, server == "http2")


def measure(hosts, url, mode, count, pause_ms, size=SIZE):
    command = [PROGRAM, url, "job/1/pages", size, mode, FRAME, count, pause_ms]
    done = subprocess.run(
        lab.within(hosts.b, [str(x) for x in command]),
        capture_output=True,
        check=True,
        preexec_fn=lab.die_with_parent,
    )
    return json.loads(done.stdout)


def set_congestion(hosts, name):
    """By route: a machine may not let us change its default."""
    route = ["ip", "route", "change", hosts.ip_b, "dev", "link0", "src", hosts.ip_a]
    subprocess.run(lab.within(hosts.a, [*route, "congctl", name]), check=True)


def one(root, rtt_ms, rate, congestion, server, count):
    with lab.Hosts(rtt_ms, rate) as hosts:
        set_congestion(hosts, congestion)
        with serve(root, server, hosts) as served:
            rows = {
                "idle": measure(hosts, served.url, "idle", min(count, 20), 1000),
                "loaded": measure(hosts, served.url, "loaded", count, 100),
                "stream": measure(hosts, served.url, "stream", 1, 0, int(rate * 5e6)),
            }
    for mode, row in rows.items():
        seconds = row["median_ms"] / 1000
        ideal = 2 * rtt_ms / 1000 + 5
        print(
            f"{rtt_ms:4g} ms {rate:4g} MB/s {congestion:6} {server:6} {mode:7}"
            + (
                f" median {row['median_ms'] / rtt_ms:5.2f} p90 {row['p90_ms'] / rtt_ms:5.2f}"
                f" p99 {row['p99_ms'] / rtt_ms:5.2f} RTT"
                if mode != "stream"
                else f" {seconds:.2f} s, {seconds / ideal:.2f} of 2 RTT + bytes/rate"
            )
            + (f"  bulk {row['bulk_bps'] / 1e6:.2f} MB/s" if mode == "loaded" else ""),
            flush=True,
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--link", action="append", help="RTT_MS,MB_S")
    parser.add_argument("--congestion", action="append")
    parser.add_argument("--server", action="append", choices=["frem", "http1", "http2"])
    parser.add_argument("--n", type=int, default=100)
    arguments = parser.parse_args()
    links = [tuple(map(float, x.split(","))) for x in arguments.link or []]
    with tempfile.TemporaryDirectory(prefix="frem-bench-") as root:
        os.makedirs(os.path.join(root, "job", "1"))
        with open(os.path.join(root, "job", "1", "pages"), "wb") as f:
            f.write(os.urandom(SIZE))
        for rtt_ms, rate in links or [lab.SLOW, lab.FAST]:
            for congestion in arguments.congestion or ["cubic", "bbr"]:
                for server in arguments.server or ["frem"]:
                    one(root, rtt_ms, rate, congestion, server, arguments.n)


if __name__ == "__main__":
    main()
