"""Outputs that are objects, in a store of somebody else's and read by somebody else's client."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Iterator

import boto3

from programs import Difference, Programs, expect

SECRET = "a-secret-that-nobody-may-see"
BUCKET = "records"
SELECT = ["--select", "title=title", "--select", "links[]=a::attr(href)"]
START_S = 60


def check(programs: Programs) -> str:
    """One command writes a file and an object: the same bytes, and everything else refused as it should be."""
    with store(programs) as (programs, s3), programs.origin() as origin:
        urls = [f"{origin}/site/page/{n}" for n in range(200)]
        (programs.home / "urls.txt").write_text("\n".join(urls))
        fetch = ["fetch", "-i", "urls.txt", "--ordered", "--workers", "1", *SELECT]
        names = ["x.jsonl", "x.csv.gz", "a/b c/ü?x=%20#1.tsv", "x.parquet", "x.db", "x.warc.gz"]
        for name in names:
            programs.supervisor(*fetch, "-o", f"s3://{BUCKET}/{name}", "--manifest", "manifest.json")
            check_object(programs, s3, name, 200)
        same_but_for_times(programs, s3, fetch)
        large(programs, s3, origin)
        split(programs, s3, fetch)
        table(programs, s3)
        refusals(programs, s3, fetch)
        expect("kept on this machine", sorted(kept(programs)), [])
        expect("uploads begun", s3.list_multipart_uploads(Bucket=BUCKET).get("Uploads", []), [])
    return f"{len(names)} formats, a directory, a table and a large object are in the store as they were made"


def check_object(programs: Programs, s3: object, key: str, records: int) -> None:
    """What is in the store is what the manifest says was made."""
    body = s3.get_object(Bucket=BUCKET, Key=key)
    content, said = body["Body"].read(), body["Metadata"]
    manifest = json.loads((programs.home / "manifest.json").read_text())
    (entry,) = manifest["files"]
    digest = hashlib.sha256(content).hexdigest()
    expect(f"{key}: size and hash", [entry["bytes"], entry["sha256"]], [len(content), digest])
    expect(f"{key}: name", entry["name"], key.rsplit("/", 1)[-1])
    expect(f"{key}: metadata", said, {"muster-sha256": digest, "muster-records": str(records), "muster-failed": "0"})


def same_but_for_times(programs: Programs, s3: object, fetch: list[str]) -> None:
    """The file of the same command says the same."""
    programs.supervisor(*fetch, "-o", "x.jsonl")
    theirs = s3.get_object(Bucket=BUCKET, Key="x.jsonl")["Body"].read()
    clean = lambda text: re.sub(rb'"elapsed_ms":[0-9.]+', b"", text)
    expect("x.jsonl", clean((programs.home / "x.jsonl").read_bytes()), clean(theirs))


def large(programs: Programs, s3: object, origin: str) -> None:
    """An object of several parts."""
    lines = "".join(json.dumps({"n": n, "text": "x" * 1000}) + "\n" for n in range(40_000))
    (programs.home / "large.jsonl").write_text(lines)
    programs.supervisor("map", "-i", "large.jsonl", "--raw", "--ordered", "-o", f"s3://{BUCKET}/large.jsonl", "--", "cat")
    got = s3.get_object(Bucket=BUCKET, Key="large.jsonl")
    expect("large.jsonl", hashlib.sha256(got["Body"].read()).digest(), hashlib.sha256(lines.encode()).digest())
    expect("large.jsonl: parts", got["ETag"].rsplit("-", 1)[-1], '3"')


def split(programs: Programs, s3: object, fetch: list[str]) -> None:
    """A directory: its manifest names what is there."""
    s3.put_object(Bucket=BUCKET, Key="dir/notes.txt", Body=b"")
    programs.supervisor(*fetch, "-o", f"s3://{BUCKET}/dir/", "--split", "30", "--format", "csv")
    programs.supervisor(*fetch, "-o", f"s3://{BUCKET}/dir/", "--split", "90", "--format", "csv", "--overwrite")
    listed = [found["Key"] for found in s3.list_objects_v2(Bucket=BUCKET, Prefix="dir/")["Contents"]]
    parts = [f"dir/part-{n:05}.csv" for n in range(3)]
    expect("dir/", listed, ["dir/manifest.json", "dir/notes.txt", *parts])
    manifest = json.loads(s3.get_object(Bucket=BUCKET, Key="dir/manifest.json")["Body"].read())
    for key, entry in zip(parts, manifest["files"], strict=True):
        content = s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()
        expect(key, entry["sha256"], hashlib.sha256(content).hexdigest())


def table(programs: Programs, s3: object) -> None:
    """What `csv` works out."""
    (programs.home / "rows.csv").write_text("k,v\na,1\nb,2\na,3\n")
    csv = ["csv", "rows.csv", "--group-by", "k", "--agg", "n=count"]
    programs.supervisor(*csv, "-o", f"s3://{BUCKET}/table.csv")
    expect("table.csv", s3.get_object(Bucket=BUCKET, Key="table.csv")["Body"].read(), b"k,n\na,2\nb,1\n")
    programs.refused("exists", *csv, "-o", f"s3://{BUCKET}/table.csv")


def refusals(programs: Programs, s3: object, fetch: list[str]) -> None:
    """What cannot be done is said before anything is fetched, and changes nothing."""
    to = lambda key: [*fetch, "-o", f"s3://{key}"]
    before = s3.get_object(Bucket=BUCKET, Key="x.jsonl")["ETag"]
    programs.refused("exists; name another", *to(f"{BUCKET}/x.jsonl"))
    programs.refused("dir exists; name another", *to(f"{BUCKET}/dir/"), "--split", "3")
    programs.refused("there is no bucket nowhere at http://127.0.0.1", *to("nowhere/x.jsonl"))
    programs.refused("is a bucket", *to(f"{BUCKET}"), exits=2)
    programs.supervisor(*to(f"{BUCKET}/x.jsonl"), "--resume")
    programs.refused("there are 3 inputs", "fetch", "a:", "b:", "c:", "-o", f"s3://{BUCKET}/x.jsonl", "--resume")
    expect("x.jsonl", s3.get_object(Bucket=BUCKET, Key="x.jsonl")["ETag"], before)
    programs.supervisor(*to(f"{BUCKET}/x.jsonl"), "--overwrite")
    s3.put_object(Bucket=BUCKET, Key="theirs.jsonl", Body=b"")
    programs.refused("was not written by this program", *to(f"{BUCKET}/theirs.jsonl"), "--resume")
    nobody = replace(programs, variables={**programs.variables, "AWS_ENDPOINT_URL": "http://127.0.0.1:1"})
    nobody.refused("cannot connect to http://127.0.0.1:1: Connection refused", *to(f"{BUCKET}/y.jsonl"))
    clear = replace(programs, variables={**programs.variables, "AWS_ENDPOINT_URL": "http://192.0.2.1"})
    clear.refused("unencrypted", *to(f"{BUCKET}/y.jsonl"), exits=2)


def check_resumed(programs: Programs) -> str:
    """Killed while it fetches and while it uploads: resumed, the object has every record once."""
    with store(programs) as (programs, s3), programs.origin() as origin:
        urls = [f"{origin}/site/page/{n % 500}?n={n}" for n in range(3000)]
        (programs.home / "urls.txt").write_text("\n".join(urls))
        fetch = ["fetch", "-i", "urls.txt", "-o", f"s3://{BUCKET}/killed.jsonl", *SELECT]
        kills = 0
        for share in (1, 2):
            size = lambda: sum(path.stat().st_size for path in kept(programs) if path.name == "killed.jsonl")
            programs.killed_when(lambda: size() > share * 100_000, *fetch, "--rate", "1000", *(["--resume"] if kills else []))
            kills += 1
        programs.refused("--resume does the rest", *fetch)
        kills += killed_in_upload(programs, s3, fetch)
        programs.supervisor(*fetch, "--resume")
        lines = s3.get_object(Bucket=BUCKET, Key="killed.jsonl")["Body"].read().splitlines()
        expect("ids", sorted(json.loads(line)["id"] for line in lines), list(range(3000)))
        expect("uploads begun", s3.list_multipart_uploads(Bucket=BUCKET).get("Uploads", []), [])
        expect("kept on this machine", sorted(kept(programs)), [])
        programs.supervisor(*fetch, "--resume")
    return f"killed {kills} times, 3,000 records once each, and nothing left behind"


def killed_in_upload(programs: Programs, s3: object, fetch: list[str]) -> int:
    """A store that stops in the middle holds the upload up, so that the kill meets it."""
    note = lambda: next((path for path in kept(programs) if path.name == "upload.json"), None)
    pages = "".join(json.dumps({"n": n, "text": "x" * 1000}) + "\n" for n in range(60_000))
    (programs.home / "large.jsonl").write_text(pages)
    upload = ["map", "-i", "large.jsonl", "--raw", "-o", f"s3://{BUCKET}/large.jsonl"]
    begun = lambda: any(
        path.name == "upload.json" and json.loads(path.read_text())["begun"] for path in kept(programs)
    )
    programs.killed_when(begun, *upload, "--", "cat")
    expect("note", note() is not None, True)
    programs.supervisor(*upload, "--resume", "--", "cat")
    got = s3.get_object(Bucket=BUCKET, Key="large.jsonl")["Body"].read().splitlines()
    expect("large.jsonl", sorted(got), sorted(pages.encode().splitlines()))
    return 1


def kept(programs: Programs) -> list[Path]:
    """The files that are kept until they are uploaded."""
    return [path for path in (programs.home / "state").rglob("*") if path.is_file()]


@contextlib.contextmanager
def store(programs: Programs) -> Iterator[tuple[Programs, object]]:
    """The store with an empty bucket, and our programs with credentials for it."""
    command = [str(Path(sys.executable).with_name("moto_server")), "--host", "127.0.0.1", "--port", "0"]
    log = programs.home / "store.log"
    with open(log, "wb") as file:
        server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=file)
    try:
        endpoint = address(server, log)
        keys = {"aws_access_key_id": "AKIATEST", "aws_secret_access_key": SECRET, "region_name": "us-east-1"}
        s3 = boto3.client("s3", endpoint_url=endpoint, **keys)
        s3.create_bucket(Bucket=BUCKET)
        variables = {
            "AWS_ACCESS_KEY_ID": "AKIATEST", "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": endpoint, "XDG_STATE_HOME": str(programs.home / "state"),
        }  # fmt: skip
        yield replace(programs, variables=variables), s3
    finally:
        server.terminate()
        server.wait(START_S)


def address(server: subprocess.Popen[bytes], log: Path) -> str:
    """Where the store listens, once it says so."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and server.poll() is None:
        if found := re.search(r"Running on (http://127\.0\.0\.1:\d+)", log.read_text(errors="replace")):
            return found[1]
        time.sleep(0.05)
    raise Difference(f"the store did not start: {log.read_text(errors='replace')[-1000:]}")
