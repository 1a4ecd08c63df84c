"""The server that all contenders fetch from: Debian's nginx, unpacked, with its own
configuration, on a free port of 127.0.0.1."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator

import debian

PACKAGES = ["nginx", "libnginx-mod-http-echo"]
PR_SET_PDEATHSIG = 1

# Nothing may make the origin the bottleneck: no access log, connections kept for the
# whole run, file handles cached.
CONFIG = """
{user}
daemon off;
pid {home}/nginx.pid;
error_log {home}/error.log;
worker_processes auto;
worker_rlimit_nofile 65536;
load_module {modules}/ngx_http_echo_module.so;
events {{ worker_connections 8192; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_timeout 300s;
    keepalive_requests 100000000;
    open_file_cache max=40000 inactive=1h;
    open_file_cache_valid 1h;
    types {{ text/html html; }}
    default_type text/html;
    client_body_temp_path {home}/body;
    proxy_temp_path {home}/proxy;
    fastcgi_temp_path {home}/fastcgi;
    uwsgi_temp_path {home}/uwsgi;
    scgi_temp_path {home}/scgi;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        root {root};
        location = /tiny {{ return 200 "<title>tiny</title><a href=next>next</a>"; }}
        location /packed/ {{ alias {home}/../packed/; gzip_static always; }}
        location ~ ^/delay/([0-9.]+)$ {{ echo_sleep $1; echo "<title>slept $1 s</title>"; }}
    }}
}}
"""


@contextmanager
def serve(work: Path, root: Path) -> Iterator[str]:
    """Run the origin while the block runs, and yield its address."""
    home = work / "origin"
    for deb in debian.fetch(PACKAGES, work / "debs").values():
        debian.unpack(deb, home / "root")
    port = free_port()
    config = home / "nginx.conf"
    # As root, nginx would run its workers as a user who cannot read this directory.
    user = "user root;" if os.geteuid() == 0 else ""
    modules = home / "root/usr/lib/nginx/modules"
    config.write_text(CONFIG.format(user=user, home=home, modules=modules, port=port, root=root))
    nginx = subprocess.Popen(
        [home / "root/usr/sbin/nginx", "-p", home, "-c", config, "-e", home / "error.log"],
        preexec_fn=stop_with_parent,
    )
    try:
        wait_until_open(port, nginx, home / "error.log")
        yield f"http://127.0.0.1:{port}"
    finally:
        nginx.terminate()
        nginx.wait()


def stop_with_parent() -> None:
    """Stop the server even if the benchmark is killed."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def free_port() -> int:
    """Return a port that is free right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until_open(port: int, nginx: subprocess.Popen[bytes], log: Path) -> None:
    """Return once the origin accepts connections."""
    for _ in range(100):
        with socket.socket() as probe:
            if nginx.poll() is None and probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise SystemExit(f"bench: nginx did not start: {log.read_text()[-500:]}")


def version(work: Path) -> str:
    """Return the version of nginx."""
    return debian.version(debian.fetch(["nginx"], work / "debs")["nginx"])
