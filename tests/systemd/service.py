"""The installed service, as its users and its administrator see it."""

import contextlib
import ctypes
import http.client
import json
import os
import socket
import subprocess

from machine import Failed, until

UNIT = "muster.service"
SOCKET = "/run/muster/api.sock"
ORIGIN = "127.0.0.1:8399"


class _Unix(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("muster", timeout=30)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self.path))


class Service:
    """muster.service on a machine, which has a web server that its jobs read from."""

    def __init__(self, machine):
        self.machine = machine
        self.url = f"http://{ORIGIN}"

    # Its administrator.

    def systemctl(self, verb):
        self.machine.run("systemctl", verb, UNIT)

    def drop_in(self, name, *lines):
        """Settings for the unit, until the machine boots again."""
        directory = self.machine.path(f"/run/systemd/system/{UNIT}.d")
        directory.mkdir(parents=True, exist_ok=True)
        (directory / f"{name}.conf").write_text("[Service]\n" + "\n".join(lines) + "\n")
        self.machine.run("systemctl", "daemon-reload")

    def no_drop_in(self, name):
        self.machine.path(f"/run/systemd/system/{UNIT}.d/{name}.conf").unlink(missing_ok=True)
        self.machine.run("systemctl", "daemon-reload")

    def main_pid(self):
        return int(self.machine.show(UNIT, "MainPID")[0])

    def restarts(self):
        return int(self.machine.show(UNIT, "NRestarts")[0])

    def is_active(self):
        return self.machine.try_run("systemctl", "is-active", UNIT).stdout.strip() == "active"

    def wait_restarted(self, restarts, pid):
        """Until systemd has started it again, and it answers."""
        def is_back():
            main = self.main_pid()
            return self.restarts() > restarts and main not in (0, pid) and self.is_active()
        until("systemd has started the service again", is_back)
        until("the service answers", self.is_ready)

    # Its users.

    def request(self, method, path, body=None, headers=None):
        """Status and body of an answer."""
        connection = _Unix(self.machine.path(SOCKET))
        with contextlib.closing(connection):
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read()

    def get(self, path):
        status, body = self.request("GET", path)
        if status != 200:
            raise Failed(f"GET {path}: {status} {body.decode()}")
        return json.loads(body)

    def is_ready(self):
        try:
            return self.request("GET", "/readyz")[0] == 200
        except OSError:
            return False

    def submit(self, document):
        body = json.dumps(document)
        status, answer = self.request("POST", "/v1/jobs", body, {"Content-Type": "application/json"})
        return self._taken(status, answer)

    def upload(self, document, files):
        """A job with files, as a browser sends them."""
        boundary = "muster-test-boundary"
        parts = [f'--{boundary}\r\nContent-Disposition: form-data; name="job"\r\n'
                 f"Content-Type: application/json\r\n\r\n{json.dumps(document)}\r\n".encode()]
        for name, content in files:
            head = f'--{boundary}\r\nContent-Disposition: form-data; name="input"; filename="{name}"\r\n\r\n'
            parts.append(head.encode() + content + b"\r\n")
        parts.append(f"--{boundary}--\r\n".encode())
        status, answer = self.request("POST", "/v1/jobs", b"".join(parts),
                                      {"Content-Type": f"multipart/form-data; boundary={boundary}"})
        return self._taken(status, answer)

    @staticmethod
    def _taken(status, answer):
        if status != 201:
            raise Failed(f"the job is not taken: {status} {answer.decode()}")
        return json.loads(answer)["id"]

    def job(self, number):
        return self.get(f"/v1/jobs/{number}")

    def wait_under_way(self, number, done):
        """Until so many inputs are done, and not all."""
        def is_under_way():
            job = self.job(number)
            if job["state"] in ("done", "failed", "cancelled"):
                raise Failed(f"job {number} is over before anything could happen to it: {job}")
            return job["counts"]["done"] >= done
        until(f"{done} inputs of job {number} are done", is_under_way)

    def wait_ended(self, number, seconds=90.0):
        def has_ended():
            job = self.job(number)
            return job if job["state"] in ("done", "failed", "cancelled") else None
        job = until(f"job {number} has ended", has_ended, seconds)
        if job["state"] != "done":
            raise Failed(f"job {number} is {job['state']}: {job['error']}")
        return job

    def records(self, number):
        status, body = self.request("GET", f"/v1/jobs/{number}/records")
        if status != 200:
            raise Failed(f"the records of job {number}: {status} {body.decode()}")
        return [json.loads(line) for line in body.splitlines()]

    def workers(self):
        return self.get("/v1/workers")["workers"]


class Census:
    """Compares the records of a job with its inputs."""

    def __init__(self, records, inputs):
        ids = [record["id"] for record in records]
        self.lost = sorted(set(range(len(inputs))) - set(ids))
        self.twice = sorted({number for number in ids if ids.count(number) > 1}) if len(set(ids)) < len(ids) else []
        self.failed = {record["id"]: record["error"] for record in records if "error" in record}
        self.foreign = [record for record in records
                        if record["id"] >= len(inputs) or record.get("url", inputs[record["id"]]) != inputs[record["id"]]]

    def expect(self, failed=None):
        """0 lost, 0 twice, none but its own; failed are exactly those in `failed`, with that kind of error."""
        kinds = {number: error["kind"] for number, error in self.failed.items()}
        if self.lost or self.twice or self.foreign or kinds != (failed or {}):
            raise Failed(f"{len(self.lost)} lost {self.lost[:5]}, {len(self.twice)} twice {self.twice[:5]}, "
                         f"{len(self.foreign)} foreign {self.foreign[:1]}, failed {list(self.failed.items())[:3]}")


def freeze_until_dead(pid, name, seconds):
    """Stops one thread of a process, as a debugger does, while the others run on; until the process is ended."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    seize, interrupt, any_thread = 0x4206, 0x4207, 0x40000000
    thread = next((int(task) for task in os.listdir(f"/proc/{pid}/task")
                   if open(f"/proc/{pid}/task/{task}/comm").read().strip() == name), None)
    if thread is None:
        raise Failed(f"process {pid} has no thread {name!r}")
    for request in (seize, interrupt):
        if libc.ptrace(request, thread, None, None) != 0:
            raise Failed(f"cannot stop thread {thread}: {os.strerror(ctypes.get_errno())}")

    def is_dead():
        # Whoever traces a thread has to collect it before its parent can.
        collected, status = os.waitpid(thread, any_thread | os.WNOHANG)
        return collected and not os.WIFSTOPPED(status)
    until(f"process {pid}, whose thread {name} stands still, is ended", is_dead, seconds)


def resident_kib(status):
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS:")).split()[1])


def cpu_seconds(pids):
    """CPU time of processes so far."""
    ticks = 0
    for pid in pids:
        with contextlib.suppress(FileNotFoundError):
            fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def children(pid):
    listed = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True).stdout
    return [int(child) for child in listed.split()]
