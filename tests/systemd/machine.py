"""A small Debian with a systemd of its own, in a container on this machine."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

PACKAGES = "systemd,systemd-sysv,dbus,ca-certificates"


class Skipped(Exception):
    """The machine cannot be had here; why."""


class Failed(Exception):
    """Something does not hold; what."""


def until(what, holds, seconds=30.0):
    """What `holds` gives as soon as it gives something; asks again and again until then."""
    deadline = time.monotonic() + seconds
    while True:
        held = holds()
        if held:
            return held
        if time.monotonic() > deadline:
            raise Failed(f"not within {seconds:.0f} s: {what}")
        time.sleep(0.02)


def sh(*command, **kwargs):
    """Runs a command of the host; its output, or `Failed` with it."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, **kwargs)
    if done.returncode != 0:
        raise Failed(f"{' '.join(map(str, command))}: exit {done.returncode}\n{done.stdout}{done.stderr}".rstrip())
    return done.stdout.strip()


class Machine:
    """`with Machine(…) as machine`: booted at the beginning, gone at the end."""

    def __init__(self, cache: Path, suite: str):
        self.archive = cache / f"{suite}.tar"
        self.suite = suite
        self.root = cache / "root"
        self.log = cache / "console.log"
        self.nspawn = None
        self.init = None

    def __enter__(self):
        self._unpack()
        self.boot()
        return self

    def __exit__(self, *_):
        self._off()
        shutil.rmtree(self.root, ignore_errors=True)

    def _unpack(self):
        if not self.archive.exists():
            self._bootstrap()
        shutil.rmtree(self.root, ignore_errors=True)
        self.root.mkdir(parents=True)
        sh("tar", "-C", self.root, "-xf", self.archive)

    def _bootstrap(self):
        print(f"installing Debian {self.suite} into {self.archive} (a minute, once)", flush=True)
        shutil.rmtree(self.root, ignore_errors=True)
        self.root.parent.mkdir(parents=True, exist_ok=True)
        try:
            sh("debootstrap", "--variant=minbase", f"--include={PACKAGES}", self.suite, self.root)
        except Failed as failed:
            raise Skipped(f"debootstrap cannot install Debian: {str(failed).splitlines()[-1]}") from failed
        # Interrupted, it must not pass for whole.
        partial = self.archive.with_suffix(".partial")
        sh("tar", "-C", self.root, "--exclude=./var/cache/apt/archives/*.deb", "-cf", partial, ".")
        partial.rename(self.archive)

    def boot(self):
        """Starts the machine, and returns when systemd has started everything."""
        with self.log.open("ab") as console:
            self.nspawn = subprocess.Popen(
                ["systemd-nspawn", "--register=no", "--keep-unit", "--quiet", "--private-network", "-b", "-D",
                 self.root, "--machine=muster-test", *self._for_the_payload()],
                stdin=subprocess.DEVNULL, stdout=console, stderr=console)
        self._wait_for_boot()

    def _for_the_payload(self):
        # From version 256 on systemd wants to be told that it may run on the cgroups of an older host.
        if Path("/sys/fs/cgroup/cgroup.controllers").exists():
            return []
        return ["--setenv=SYSTEMD_PROC_CMDLINE=systemd.unified_cgroup_hierarchy=0 SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1"]

    def _wait_for_boot(self):
        def is_up():
            if self.nspawn.poll() is not None:
                raise Skipped(f"systemd-nspawn does not run here: see {self.log}")
            children = subprocess.run(["pgrep", "-P", str(self.nspawn.pid)], capture_output=True, text=True).stdout
            self.init = next(map(int, children.split()), None)
            return self.init and self._has_started()

        until("the container has booted", is_up, 60)
        # With cgroup v1 memory is a hierarchy of its own, and nspawn mounts it read-only.
        memory = Path(f"/proc/{self.init}/root/sys/fs/cgroup/memory")
        if memory.exists():
            self.run("mount", "-o", "remount,bind,rw", "/sys/fs/cgroup/memory")
            self.run("systemctl", "daemon-reexec")
            until("systemd is back", self._has_started)

    def _has_started(self):
        return self.try_run("systemctl", "is-system-running").stdout.strip() in ("running", "degraded")

    def reboot(self):
        """An orderly shutdown and a boot. Not `systemctl reboot`: nspawn's way of starting over wants /run on a tmpfs."""
        self.try_run("systemctl", "poweroff")
        try:
            self.nspawn.wait(120)
        except subprocess.TimeoutExpired as late:
            raise Failed("the machine does not shut down") from late
        self.boot()

    def cut_power(self):
        """Everything dies this instant; then the machine boots again."""
        self._off()
        self.boot()

    def _off(self):
        if self.nspawn is None:
            return
        for pid in (self.init, self.nspawn.pid):
            try:
                # The first of a PID namespace takes all others with it.
                os.kill(pid, signal.SIGKILL)
            except (ProcessLookupError, TypeError):
                pass
        self.nspawn.wait()
        until("the container is gone", lambda: not Path(f"/proc/{self.init}/root/etc").exists())
        self.nspawn = None

    def _enter(self, command):
        return ["nsenter", "-t", str(self.init), "-a", "--", *map(str, command)]

    def run(self, *command):
        """Runs a command inside; its output, or `Failed` with it."""
        return sh(*self._enter(command))

    def try_run(self, *command):
        """Runs a command inside, whatever comes of it."""
        return subprocess.run(self._enter(command), stdin=subprocess.DEVNULL, capture_output=True, text=True)

    def path(self, inside):
        """Where the host sees a path of the running machine, `/run` included."""
        return Path(f"/proc/{self.init}/root") / str(inside).lstrip("/")

    def show(self, unit, *properties):
        """Properties of a unit."""
        return [self.run("systemctl", "show", "-P", name, unit) for name in properties]

    def kill(self, pid):
        """kill -9 of a process inside."""
        os.kill(self.host_pid(int(pid)), signal.SIGKILL)

    def host_pid(self, pid):
        """The number by which the host knows a process of the machine."""
        own = os.readlink(f"/proc/{self.init}/ns/pid")
        for status in Path("/proc").glob("[0-9]*/status"):
            try:
                inside = next(line for line in status.read_text().splitlines() if line.startswith("NSpid:")).split()[-1]
                if int(inside) == pid and os.readlink(status.parent / "ns/pid") == own:
                    return int(status.parent.name)
            except (OSError, StopIteration):
                continue
        raise Failed(f"no process {pid} in the container")
