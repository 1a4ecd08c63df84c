"""Debian packages, unpacked beside the benchmark instead of installed: no service
starts, nothing on the machine changes, and root is not needed."""

from __future__ import annotations

import subprocess
from pathlib import Path


def fetch(packages: list[str], into: Path) -> dict[str, Path]:
    """Download packages; return the path of each .deb by name."""
    into.mkdir(parents=True, exist_ok=True)
    debs = {}
    for package in packages:
        if not (found := list(into.glob(f"{package}_*.deb"))):
            command = ["apt-get", "-o", "APT::Sandbox::User=root", "download", "-qq", package]
            if subprocess.run(command, cwd=into).returncode:
                raise SystemExit(f"bench: no package {package}; try: sudo apt-get update")
            found = list(into.glob(f"{package}_*.deb"))
        debs[package] = found[0]
    return debs


def unpack(deb: Path, into: Path, *only: str) -> None:
    """Extract a package, or only the paths that match the patterns."""
    into.mkdir(parents=True, exist_ok=True)
    files = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(deb)], stdout=subprocess.PIPE)
    tar = ["tar", "-x", "-C", str(into), "--no-same-owner", "--wildcards", *only]
    subprocess.run(tar, stdin=files.stdout, check=True)
    if files.wait():
        raise SystemExit(f"bench: cannot unpack {deb}")


def version(deb: Path) -> str:
    """Return the package's version."""
    command = ["dpkg-deb", "-f", str(deb), "Version"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
