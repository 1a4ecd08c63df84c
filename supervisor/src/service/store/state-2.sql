-- The state.db of a service of 0.1.0 (schema 2), as sqlite3's .dump writes it: one parsed page, one fetch that failed.
-- Never changed: it stands for the states that are out there.
BEGIN TRANSACTION;
CREATE TABLE jobs (
        -- Never used again, not even when its job is gone.
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT,
        command TEXT NOT NULL,
        priority INTEGER NOT NULL,
        -- As it was sent, and the paths of its uploads within its directory; JSON.
        document TEXT NOT NULL,
        uploads TEXT NOT NULL,
        -- JSON, as the API shows it. A job that drains is what it drains to.
        state TEXT NOT NULL,
        -- RFC 3339.
        submitted_at TEXT NOT NULL,
        started_at TEXT,
        finished_at TEXT,
        counts TEXT NOT NULL,
        errors TEXT NOT NULL,
        summary TEXT,
        exit_code INTEGER,
        error TEXT,
        retry_of INTEGER,
        idempotency_key TEXT UNIQUE,
        digest BLOB,
        sender TEXT NOT NULL,
        -- Bytes of its records that are certain, and of everything it has on the disk.
        committed INTEGER NOT NULL DEFAULT 0,
        bytes INTEGER NOT NULL DEFAULT 0
    );
INSERT INTO "jobs" VALUES(1,'nightly','parse',0,'{"command":"parse","select":["title=title"],"name":"nightly"}','["input-0/a.html"]','"done"','2026-11-28T19:47:55Z','2026-11-28T19:47:55Z','2026-11-28T19:47:55Z','{"total":1,"total_exact":true,"done":1,"ok":1,"failed":0,"quarantined":0,"retries":0,"bytes":16,"in_flight":0}','{}','{"mode":"concurrent","workers":1,"concurrency":16,"items":1,"ok":1,"failed":0,"quarantined":0,"retries":0,"bytes":16,"wall_s":0.161,"cpu_s":0.008,"supervisor_cpu_s":0.002,"items_per_s":6.229,"latency_ms":{"p50":0.6,"p90":0.6,"p99":0.6,"max":0.6},"errors":{},"per_worker":[{"slot":0,"starts":1,"items":1,"cpu_s":0.006,"rss_bytes_max":11608064}],"sandbox":"no_new_privs, landlock, seccomp","restarts":0,"why":"concurrent: the measurement itself did all there was to do"}',0,NULL,NULL,NULL,NULL,'uid 0, pid 19579',159,175);
INSERT INTO "jobs" VALUES(2,NULL,'fetch',7,'{"command":"fetch","urls":["http://example.com/"],"priority":7}','[]','"done"','2026-11-28T19:47:57Z','2026-11-28T19:47:57Z','2026-11-28T19:47:57Z','{"total":1,"total_exact":true,"done":1,"ok":0,"failed":1,"quarantined":0,"retries":0,"bytes":0,"in_flight":0}','{"dns":1}','{"mode":"concurrent","workers":1,"concurrency":16,"items":1,"ok":0,"failed":1,"quarantined":0,"retries":0,"bytes":0,"wall_s":0.106,"cpu_s":0.01,"supervisor_cpu_s":0.003,"items_per_s":9.399,"latency_ms":{"p50":13.206,"p90":13.206,"p99":13.206,"max":13.206},"errors":{"dns":1},"per_worker":[{"slot":0,"starts":1,"items":1,"cpu_s":0.007,"rss_bytes_max":12619776}],"sandbox":"no_new_privs, landlock, seccomp","restarts":0,"why":"concurrent: the measurement itself did all there was to do"}',3,NULL,NULL,'monday',X'2E484B02B286BEF3B167516CE014DFCFB5AE469443239C3ACACCD2E2CCF4D13A','uid 0, pid 19718',202,202);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('jobs',2);
CREATE TABLE deaths (
        job INTEGER PRIMARY KEY, silent INTEGER NOT NULL, stuck INTEGER NOT NULL, done INTEGER NOT NULL,
        cleared INTEGER NOT NULL
    );
CREATE TABLE started (
        one INTEGER PRIMARY KEY CHECK (one = 1), boot TEXT NOT NULL, got_on INTEGER NOT NULL
    );
INSERT INTO "started" VALUES(1,'0d8b1b0f-6f4c-4b8e-9a51-7c7d9c2f0a4e',1);
COMMIT;
PRAGMA application_id=1297437523;
PRAGMA user_version=2;
