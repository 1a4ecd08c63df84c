"""Eight real proxies, of which two die, one stands still and one is turned away by a host.

    proxies.py --bin DIR --work DIR [--urls 20000] [--socks]

squid (http and CONNECT) or microsocks, and nginx as the servers, all from Debian and all on loopback. It prints what was
measured, and fails if a record is lost, there twice or has an error, if a dead proxy is tried more than five times a
minute, if the shares of the healthy proxies differ by more than 10 %, or if the rate from 5 s after the faults on is
more than 15 % below that of the healthy ones alone.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

PROXIES = 8
HEALTHY = range(4)
TURNED_AWAY, STOPPED, KILLED = 4, 5, (6, 7)
TRIES_MAX = 5
RATE_MIN = 0.85
AT_ONCE = 400
PROGRAMS = ["squid", "microsocks", "nginx", "openssl"]

NGINX = """
load_module {modules}/ngx_http_echo_module.so;
worker_processes 1; pid {work}/nginx.pid; error_log {work}/nginx-error.log; daemon off;
events {{ worker_connections 4096; }}
http {{
  access_log off; client_body_temp_path {work}/body; proxy_temp_path {work}/proxy;
  fastcgi_temp_path {work}/f; uwsgi_temp_path {work}/u; scgi_temp_path {work}/s; keepalive_requests 100000;
  ssl_certificate {work}/cert.pem; ssl_certificate_key {work}/key.pem;
  server {{ listen 127.0.0.1:{a}; listen 127.0.0.1:{a_tls} ssl; deny 127.0.0.9; location / {{ {page} }} }}
  server {{ listen 127.0.0.2:{b}; listen 127.0.0.2:{b_tls} ssl; location / {{ {page} }} }}
}}
"""

# A page takes a while, so that the run lasts long enough, and neither the servers nor the machine are what limits it.
PAGE = "default_type text/html; echo_sleep 0.5; echo '<title>page</title>'; echo_duplicate 300 '<p>text</p>';"
MODULES = "/usr/lib/nginx/modules"

SQUID = """
http_port 127.0.0.1:{port}
acl all_ports port 1-65535
http_access allow all_ports
cache deny all
cache_mem 8 MB
access_log stdio:{work}/squid-{n}.access
cache_log {work}/squid-{n}.log
pid_filename {work}/squid-{n}.pid
coredump_dir {work}
shutdown_lifetime 0 seconds
pinger_enable off
netdb_filename none
via off
max_filedescriptors 4096
{more}
"""


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on."""
    held = [socket.socket() for _ in range(count)]
    for one in held:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports


def until_open(port: int) -> None:
    """Wait until something listens there."""
    for _ in range(600):
        try:
            socket.create_connection(("127.0.0.1", port), 0.2).close()
            return
        except OSError:
            time.sleep(0.05)
    raise SystemExit(f"nothing listens on port {port}")


class Grave:
    """Stands where a killed proxy was: closes each connection, and notes when it came."""

    def __init__(self, port: int) -> None:
        self.times: list[float] = []
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        for _ in range(100):
            try:
                self.listener.bind(("127.0.0.1", port))
                break
            except OSError:
                time.sleep(0.01)
        self.listener.listen(100)
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self) -> None:
        """Count and close."""
        while True:
            connection, _ = self.listener.accept()
            self.times.append(time.monotonic())
            connection.close()

    def tries_in_a_minute(self) -> int:
        """The most within any minute."""
        return max((sum(t <= u < t + 60 for u in self.times) for t in self.times), default=0)


class World:
    """The servers and the proxies."""

    def __init__(self, work: Path, socks: bool) -> None:
        self.work, self.socks = work, socks
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        os.chmod(work, 0o777)
        self.servers = dict(zip(("a", "a_tls", "b", "b_tls"), free_ports(4)))
        self.ports = free_ports(PROXIES)
        names = "subjectAltName=IP:127.0.0.1,IP:127.0.0.2"
        key = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=proxies", "-addext", names]
        key += ["-days", "2", "-addext", "basicConstraints=critical,CA:FALSE"]
        subprocess.run([*key, "-keyout", work / "key.pem", "-out", work / "cert.pem"], check=True, capture_output=True)
        (work / "nginx.conf").write_text(NGINX.format(work=work, page=PAGE, modules=MODULES, **self.servers))
        self.nginx = self.start(["nginx", "-c", str(work / "nginx.conf")])
        self.proxies = [self.proxy(n, port) for n, port in enumerate(self.ports)]
        for port in (self.servers["a"], *self.ports):
            until_open(port)

    def start(self, argv: list[str]) -> subprocess.Popen[bytes]:
        """Start a program without output."""
        return subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)

    def proxy(self, n: int, port: int) -> subprocess.Popen[bytes]:
        """Start one proxy; host A turns away the address of one of them."""
        if self.socks:
            bind = ["-b", "127.0.0.9"] if n == TURNED_AWAY else []
            return self.start(["microsocks", "-i", "127.0.0.1", "-p", str(port), *bind])
        more = "tcp_outgoing_address 127.0.0.9" if n == TURNED_AWAY else ""
        conf = self.work / f"squid-{n}.conf"
        conf.write_text(SQUID.format(n=n, port=port, work=self.work, more=more))
        return self.start(["squid", "-N", "-f", str(conf)])

    def urls(self, count: int) -> list[str]:
        """Both hosts, with and without TLS."""
        s = self.servers
        origins = [f"http://127.0.0.1:{s['a']}", f"https://127.0.0.1:{s['a_tls']}"]
        origins += [f"http://127.0.0.2:{s['b']}", f"https://127.0.0.2:{s['b_tls']}"]
        return [f"{origins[n % 4]}/{n}" for n in range(count)]

    def stop(self) -> None:
        """End everything that was started."""
        for process in (self.nginx, *self.proxies):
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
                process.wait()


def lines(path: Path) -> int:
    """How many records there are."""
    return path.read_bytes().count(b"\n") if path.exists() else 0


def run(world: World, binaries: Path, name: str, count: int, used: list[int], faults: bool) -> dict[str, float]:
    """Fetch through these proxies. Returns the rate before and after the faults, in records per second."""
    out, summary, listed = (world.work / f"{name}.{end}" for end in ("jsonl", "json", "txt"))
    listed.write_text("".join(f"{url}\n" for url in world.urls(count)))
    scheme = "socks5" if world.socks else "http"
    flags = [f"--proxy={scheme}://127.0.0.1:{world.ports[n]}" for n in used]
    flags += ["--select", "t=title", "--blocked-if", "status:403", "--connect-timeout", "2s", "--timeout", "10s"]
    # As many at once in both runs: what is compared is proxies, not how fast the load grows.
    flags += ["--per-host", str(AT_ONCE // 4), "--concurrency", str(AT_ONCE)]
    flags += ["-i", str(listed), "-o", str(out), "--summary", str(summary), "--workers", "2"]
    environment = os.environ | {"SSL_CERT_FILE": str(world.work / "cert.pem")}
    for variable in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        environment.pop(variable, None)
    began = time.monotonic()
    child = subprocess.Popen([binaries / "supervisor", "fetch", *flags], env=environment, stderr=subprocess.PIPE)
    graves: list[Grave] = []
    seen: list[tuple[float, int]] = []
    while child.poll() is None:
        seen.append((time.monotonic() - began, lines(out)))
        if faults and not graves and seen[-1][1] > count // 4:
            for n in KILLED:
                world.proxies[n].kill()
                world.proxies[n].wait()
                graves.append(Grave(world.ports[n]))
            world.proxies[STOPPED].send_signal(signal.SIGSTOP)
            fault_at = seen[-1][0]
        time.sleep(0.1)
    wall = time.monotonic() - began
    error = child.stderr.read().decode() if child.stderr else ""
    if child.returncode != 0:
        raise SystemExit(f"{name}: exit code {child.returncode}: {error[-2000:]}")
    records = [json.loads(line) for line in out.read_text().splitlines()]
    ids = Counter(record["id"] for record in records)
    failed = [record for record in records if "error" in record]
    if len(ids) != count or len(records) != count or failed:
        raise SystemExit(f"{name}: {len(records)} records, {len(ids)} ids of {count}, failed: {failed[:3]}")
    facts: dict[str, float] = {"rate": count / wall, "retries": json.loads(summary.read_text())["retries"]}
    proxies = json.loads(summary.read_text())["proxies"]
    requests = [proxies[used.index(n)]["requests"] for n in used if n in HEALTHY]
    mean = sum(requests) / len(requests)
    facts["share_off"] = max(abs(one - mean) for one in requests) / mean
    if faults:
        # Without the last records, some of which wait for the proxy that stands still.
        after = [(at, done) for at, done in seen if at >= fault_at + 5 and done <= 0.95 * count]
        if len(after) > 10:
            facts["rate_after"] = (after[-1][1] - after[0][1]) / (after[-1][0] - after[0][0])
        facts["tries"] = max(grave.tries_in_a_minute() for grave in graves)
    print(f"{name}: {json.dumps({key: round(value, 3) for key, value in facts.items()})}")
    for proxy in proxies:
        print(f"  {json.dumps(proxy)}")
    if facts["share_off"] > 0.1:
        raise SystemExit(f"{name}: the shares of the healthy proxies differ: {requests}")
    if facts.get("tries", 0) > TRIES_MAX:
        raise SystemExit(f"{name}: {facts['tries']} tries a minute at a dead proxy")
    return facts


def main() -> None:
    """Run both: with the healthy proxies alone, then with all and their faults."""
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--bin", type=Path, required=True, help="where supervisor and worker are")
    args.add_argument("--work", type=Path, required=True, help="a directory for what is written; emptied first")
    args.add_argument("--urls", type=int, default=20_000)
    args.add_argument("--socks", action="store_true", help="microsocks in place of squid")
    asked = args.parse_args()
    missing = [name for name in PROGRAMS if not shutil.which(name)]
    if missing or not Path(MODULES, "ngx_http_echo_module.so").exists():
        packages = "squid microsocks nginx-light libnginx-mod-http-echo openssl"
        print(f"skipped: {', '.join(missing) or 'the module echo of nginx'} is missing: apt-get install {packages}")
        return
    world = World(asked.work.resolve(), asked.socks)
    try:
        binaries = asked.bin.resolve()
        alone = run(world, binaries, "healthy", asked.urls, [*HEALTHY, TURNED_AWAY], faults=False)
        all_of_them = run(world, binaries, "faults", asked.urls, list(range(PROXIES)), faults=True)
        if "rate_after" in all_of_them:
            share = all_of_them["rate_after"] / alone["rate"]
            print(f"rate after the faults: {share:.2f} of the healthy ones alone")
            if share < RATE_MIN:
                raise SystemExit(f"faults: the rate is {share:.2f} of the healthy ones alone")
        else:
            print("rate after the faults: the run was too short; use more URLs")
    finally:
        world.stop()


if __name__ == "__main__":
    sys.exit(main())
