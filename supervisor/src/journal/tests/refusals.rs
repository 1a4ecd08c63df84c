//! Existing files when a run starts, and the errors about them.

use super::*;

#[test]
fn what_is_in_the_way_is_said() {
    let dir = TestDir::new(9);
    let mut run = dir.run();
    run.finish(3);
    run.commit();
    run.finish(2);
    run.outlet.settle().unwrap();
    let locked = "another supervisor is writing to out; it has locked out.journal";
    for (overwrite, resume) in [(false, false), (true, false), (false, true)] {
        assert_eq!(dir.refusal(overwrite, resume), locked);
    }
    let length = run.state.output_bytes;
    drop(run);
    assert_eq!(
        dir.refusal(false, false),
        "out is the output of an unfinished run; continue it with --resume, or start over with --overwrite"
    );
    fs::write(dir.at("urls"), "http://b/\n").unwrap();
    let refusal = dir.refusal(false, true);
    assert!(refusal.contains("urls had 99 bytes and now has 10"), "{refusal}");
    assert!(fs::metadata(dir.at("out")).unwrap().len() > length, "cut before it was certain");

    let dir = dir.crash(length - 1, u64::MAX);
    fs::copy(TestDir::new(9).at("urls"), dir.at("urls")).unwrap();
    assert!(dir.refusal(false, true).contains("cannot resume out, for it was changed"));
    fs::write(dir.at("out"), vec![b'x'; 1000]).unwrap();
    assert!(dir.refusal(false, true).contains("no record ends at byte"));

    let Opened::Ready(anew) = dir.open(true, false).unwrap() else { panic!("not replaced") };
    assert_eq!(anew.journal.unwrap().state, State::default());
}

#[test]
fn an_output_that_is_gone_is_begun_anew() {
    let dir = TestDir::new(3);
    let mut run = dir.run();
    run.finish(0);
    run.commit();
    drop(run);
    fs::remove_file(dir.at("out")).unwrap();
    let Opened::Ready(destination) = dir.open(false, true).unwrap() else { panic!("complete") };
    let notice = destination.notice.as_deref().unwrap();
    assert!(notice.ends_with("out no longer exists; starting over"), "{notice}");
    assert_eq!(destination.journal.as_ref().unwrap().state, State::default());
}

#[test]
fn a_run_that_never_got_going_leaves_no_journal() {
    let dir = TestDir::new(3);
    drop(dir.open(false, false).unwrap());
    assert!(!dir.at("out").exists() && !dir.at("out.journal").exists());
    fs::write(dir.at("out"), "kept\n").unwrap();
    drop(dir.open(true, false).unwrap());
    assert_eq!(fs::read_to_string(dir.at("out")).unwrap(), "kept\n");
    assert!(!dir.at("out.journal").exists());
    assert!(matches!(dir.open(false, false), Err(OutputError::Sink(SinkError::Exists { .. }))));
}

#[test]
fn a_complete_job_is_complete_even_if_its_journal_is_still_there() {
    let dir = TestDir::new(1);
    let mut run = dir.run();
    run.finish(0);
    run.commit();
    run.store.complete().unwrap();
    drop(run);
    assert!(matches!(dir.open(false, true), Ok(Opened::Complete(_))));
    assert!(!dir.at("out.journal").exists());
}

#[test]
fn a_run_killed_before_its_first_record_may_be_resumed() {
    let dir = TestDir::new(2);
    fs::write(dir.at("out.journal"), "").unwrap();
    fs::write(dir.at("out"), "").unwrap();
    let mut run = dir.run();
    assert_eq!(run.todo.len(), 2);
    run.finish(0);
    run.finish(0);
    run.end();
    assert_eq!(dir.ids().len(), 2);
}

/// An empty journal does not show that the output belongs to this job.
#[test]
fn an_output_beside_an_empty_journal_is_left_alone_and_named() {
    let dir = TestDir::new(2);
    let output = "{\"precious\":1}\n";
    // A SQLite database without tables.
    let made = dir.at("made");
    rusqlite::Connection::open(&made).unwrap().pragma_update(None, "journal_mode", "WAL").unwrap();
    let header = fs::read(&made).unwrap();
    assert!(!header.is_empty());
    for journal in [&b""[..], &header] {
        fs::write(dir.at("out"), output).unwrap();
        fs::write(dir.at("out.journal"), journal).unwrap();
        fs::write(dir.at("out.journal-wal"), "of somebody").unwrap();
        let refusal = dir.refusal(false, true);
        assert!(refusal.starts_with("cannot resume out: its journal out.journal is empty"), "{refusal}");
        assert_eq!(
            dir.refusal(false, false),
            "out exists; name another output, or replace it with --overwrite"
        );
        assert_eq!(fs::read_to_string(dir.at("out")).unwrap(), output);
        if journal.is_empty() {
            assert_eq!(fs::read(dir.at("out.journal")).unwrap(), b"");
            assert_eq!(fs::read_to_string(dir.at("out.journal-wal")).unwrap(), "of somebody");
        }
    }
    assert!(dir.open(true, false).is_ok(), "--overwrite is what it says");
}

#[test]
fn what_is_no_regular_file_is_no_journal() {
    let dir = TestDir::new(1);
    let journal = dir.at("out.journal");
    let foreign = "out.journal is not the journal of a run; move it away";
    let link = "out.journal is a symbolic link, which a run neither follows nor replaces; move it away";
    let refused = |dir: &TestDir, why: &str| {
        for (overwrite, resume) in [(false, false), (true, false), (false, true)] {
            assert_eq!(dir.refusal(overwrite, resume), why);
        }
    };
    fs::create_dir(&journal).unwrap();
    refused(&dir, foreign);
    fs::remove_dir(&journal).unwrap();
    for target in ["nowhere", "empty"] {
        fs::write(dir.at("empty"), "").unwrap();
        std::os::unix::fs::symlink(dir.at(target), &journal).unwrap();
        refused(&dir, link);
        assert_eq!(fs::read(dir.at("empty")).unwrap(), b"");
        fs::remove_file(&journal).unwrap();
    }
}

#[test]
fn somebody_elses_file_is_left_alone() {
    let dir = TestDir::new(1);
    let other = rusqlite::Connection::open(dir.at("other")).unwrap();
    other.execute_batch("CREATE TABLE mine (x); INSERT INTO mine VALUES (1);").unwrap();
    drop(other);
    for bytes in [
        b"a diary, not a journal; and long enough to be one\n".repeat(50),
        fs::read(dir.at("other")).unwrap(),
    ] {
        fs::write(dir.at("out.journal"), &bytes).unwrap();
        for (overwrite, resume) in [(false, false), (true, false), (false, true)] {
            assert_eq!(
                dir.refusal(overwrite, resume),
                "out.journal is not the journal of a run; move it away"
            );
        }
        assert!(fs::read(dir.at("out.journal")).unwrap() == bytes);
    }
    assert!(!dir.at("out").exists());
}

#[test]
fn what_cannot_be_is_refused() {
    let table = [
        (
            "PRAGMA user_version = 2",
            "another version of this program wrote out.journal (schema 2; this version supports 1)",
        ),
        ("DROP TABLE progress", "is damaged: no such table: progress"),
        ("DELETE FROM progress", "is damaged: Query returned no rows"),
        ("UPDATE progress SET tally = '{'", "is damaged: EOF while parsing"),
        ("UPDATE progress SET targets = 0", "is damaged: target"),
        ("UPDATE progress SET digest = 'x'", "is damaged: "),
        ("UPDATE finished SET ids = x'ff00'", "is damaged: "),
        ("INSERT INTO finished (ids) SELECT ids FROM finished", "is damaged: it contains 5 targets twice"),
        ("DELETE FROM finished", "is damaged: it contains 0 targets but counts 5"),
    ];
    for (change, want) in table {
        let dir = TestDir::new(9);
        let mut run = dir.run();
        (0..5).for_each(|pick| run.finish(pick));
        run.commit();
        drop(run);
        let sqlite = rusqlite::Connection::open(dir.at("out.journal")).unwrap();
        sqlite.execute_batch(change).unwrap();
        drop(sqlite);
        let refusal = dir.refusal(false, true);
        assert!(refusal.contains(want), "{change}: {refusal}");
    }
}

/// Names that a run would use, taken by somebody else. Nobody's file is opened or replaced; and with `--overwrite`, only
/// the user's own files are removed.
#[test]
fn a_file_in_the_way_is_left_alone() {
    use std::os::unix::fs::symlink;
    const NAMES: [&str; 10] = [
        "records",
        "part",
        "input",
        "input.part",
        "sitemaps",
        "robots",
        "robots.part",
        "cookies",
        "wal",
        "shm",
    ];
    for name in NAMES {
        let separator = if ["wal", "shm"].contains(&name) { '-' } else { '.' };
        let stray = format!("out.journal{separator}{name}");
        for is_link in [false, true] {
            let dir = TestDir::new(1);
            fs::write(dir.at("precious"), "data").unwrap();
            if is_link {
                symlink(dir.at("precious"), dir.at(&stray)).unwrap();
            } else {
                fs::write(dir.at(&stray), "data").unwrap();
            }
            for (overwrite, resume) in [(false, false), (true, false), (false, true)] {
                if overwrite && !is_link {
                    continue;
                }
                let refusal = dir.refusal(overwrite, resume);
                let want = format!("a run would replace {stray}, but there is no journal");
                assert!(refusal.starts_with(&want), "{refusal}");
                assert_eq!(refusal.contains("--overwrite"), !overwrite, "{refusal}");
            }
            assert_eq!(fs::read(dir.at(&stray)).unwrap(), b"data");
            assert_eq!(fs::read(dir.at("precious")).unwrap(), b"data");
            assert!(!dir.at("out").exists() && !dir.at("out.journal").exists());
        }
    }
}

/// A run was killed, and then its output and its journal were deleted, but not the files beside them.
#[test]
fn what_a_killed_run_left_is_listed_and_overwritten() {
    let dir = TestDir::new(3);
    let mut run = dir.run();
    run.finish(0);
    run.commit();
    let dir = dir.crash(0, u64::MAX);
    drop(run);
    fs::remove_file(dir.at("out")).unwrap();
    fs::remove_file(dir.at("out.journal")).unwrap();
    fs::write(dir.at("out.journal.input"), "http://a/\n").unwrap();
    fs::create_dir(dir.at("out.journal.records")).unwrap();
    for resume in [false, true] {
        let refusal = dir.refusal(false, resume);
        let want = "replace out.journal-wal, out.journal.input, out.journal.records, but";
        assert!(refusal.contains(want), "{refusal}");
    }
    // Nothing is removed as long as something remains.
    let refusal = dir.refusal(true, false);
    assert!(refusal.starts_with("a run would replace out.journal.records, but"), "{refusal}");
    assert!(dir.at("out.journal-wal").exists() && dir.at("out.journal.input").exists());
    fs::remove_dir(dir.at("out.journal.records")).unwrap();
    let mut run = Run::new(&dir, dir.open(true, false).unwrap()).unwrap();
    assert!(!dir.at("out.journal.input").exists());
    (0..3).for_each(|_| run.finish(0));
    run.commit();
    run.end();
    assert_eq!(dir.ids().len(), 3);
}

#[test]
fn links_beside_a_journal_are_not_followed() {
    let dir = TestDir::new(3);
    let mut run = dir.run();
    run.finish(0);
    run.commit();
    drop(run);
    fs::write(dir.at("precious"), "data").unwrap();
    let plan = Plan { format: crate::format::Format::Sqlite, ..dir.plan(true, false) };
    std::os::unix::fs::symlink(dir.at("precious"), dir.at("out.journal.records")).unwrap();
    let refusal = open(&plan).unwrap_err().to_string();
    assert!(refusal.contains("out.journal.records is a symbolic link"), "{refusal}");
    assert_eq!(fs::read(dir.at("precious")).unwrap(), b"data");
}
