//! Files on a real disk: their names, what is in the way of them, and bodies that break off.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use http::Response;

use super::*;
use crate::stage::kinds::at_once;

fn open(dir: &Path, template: &str) -> Files {
    fs::create_dir_all(dir.join(".muster/job")).unwrap();
    let spec = SaveSpec {
        directory: dir.to_owned(),
        name: template.parse().unwrap(),
        bytes_max: 1 << 30,
        work: "job".to_owned(),
        boot: "boot".to_owned(),
        held_max: 0,
    };
    Files::open(&spec, Executor::Blocking, &Shortages::default()).unwrap()
}

fn head(status: u16, headers: &[(&str, &str)]) -> Parts {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(()).unwrap().into_parts().0
}

fn save(files: &Files, id: u64, url: &str, body: &[u8]) -> Saved {
    let mut slot = files.slot(id);
    assert_eq!(slot.begin(url, &head(200, &[])), 0);
    slot.push(body);
    at_once(slot.finish(Url::parse(url).unwrap(), None));
    slot.saved().unwrap().clone()
}

fn unfinished(dir: &Path) -> usize {
    fs::read_dir(dir.join(".muster/job")).unwrap().count()
}

#[test]
fn one_content_is_one_file_by_default() {
    let dir = tempfile::tempdir().unwrap();
    let files = open(dir.path(), "{shard}/{sha256}{ext}");
    let one = save(&files, 0, "http://h/a", b"hello");
    let sha256 = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    let want = Saved {
        file: format!("2c/f2/{sha256}.txt"),
        sha256: sha256.to_owned(),
        content_type: "text/plain".to_owned(),
        bytes: 5,
    };
    assert_eq!((one, save(&files, 1, "http://h/b", b"hello")), (want.clone(), want.clone()));
    assert_eq!(fs::read(dir.path().join(&want.file)).unwrap(), b"hello");
    // What a power failure left of it is replaced.
    fs::write(dir.path().join(&want.file), "").unwrap();
    save(&files, 1, "http://h/b", b"hello");
    assert_eq!(fs::read(dir.path().join(&want.file)).unwrap(), b"hello");
    assert_eq!(unfinished(dir.path()), 0);
}

#[test]
fn no_file_is_replaced_by_other_content() {
    let dir = tempfile::tempdir().unwrap();
    let files = open(dir.path(), "{path}");
    fs::write(dir.path().join("mine"), "of the user").unwrap();
    for (id, url, body, want) in [
        (0, "http://h/a.txt", "one", "a.txt"),
        (1, "http://i/a.txt", "two", "a~1.txt"),
        (2, "http://j/a.txt", "one", "a.txt"),
        // The same input once more, after a kill.
        (1, "http://i/a.txt", "three", "a~1.txt"),
        (3, "http://h/a.txt/b", "four", "b~3"),
        (4, "http://h/d/e", "five", "d/e"),
        (5, "http://h/d", "six", "d~5"),
        (6, "http://h/mine", "seven", "mine~6"),
    ] {
        assert_eq!(save(&files, id, url, body.as_bytes()).file, want, "{url}");
        assert_eq!(fs::read(dir.path().join(want)).unwrap(), body.as_bytes(), "{url}");
    }
    assert_eq!(fs::read(dir.path().join("mine")).unwrap(), b"of the user");
}

#[test]
fn no_link_is_followed() {
    let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let files = open(dir.path(), "{path}");
    symlink(elsewhere.path(), dir.path().join("out")).unwrap();
    fs::write(elsewhere.path().join("precious"), "data").unwrap();
    symlink(elsewhere.path().join("precious"), dir.path().join("link")).unwrap();
    assert_eq!(save(&files, 0, "http://h/out/x", b"a").file, "x~0");
    assert_eq!(save(&files, 1, "http://h/link", b"data").file, "link~1");
    assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 1);
    assert_eq!(fs::read(elsewhere.path().join("precious")).unwrap(), b"data");
}

#[test]
fn only_what_the_server_can_continue_is_kept_of_a_body_that_breaks_off() {
    let dir = tempfile::tempdir().unwrap();
    let files = open(dir.path(), "{id}");
    for (headers, kept) in [
        (&[("etag", "\"a\"")][..], true),
        (&[("etag", "W/\"a\"")], false),
        (&[("etag", "\"a\""), ("content-length", "9")], false),
        (&[("etag", "\"a\""), ("content-length", "9000000")], true),
        (&[("etag", "\"a\""), ("content-encoding", "gzip")], false),
    ] {
        let mut slot = files.slot(0);
        slot.begin("http://h/", &head(200, headers));
        slot.push(b"begi");
        at_once(slot.break_off());
        let slot = files.slot(0);
        assert_eq!(slot.unfinished.is_some(), kept, "{headers:?}");
        assert_eq!(unfinished(dir.path()), if kept { 2 } else { 0 }, "{headers:?}");
    }
}

/// A slot whose file is unfinished: `begi` of `http://h/`.
fn broken(files: &Files) -> Box<FileSlot> {
    let mut slot = files.slot(0);
    slot.begin("http://h/", &head(200, &[("etag", "\"a\"")]));
    slot.push(b"begi");
    at_once(slot.break_off());
    files.slot(0)
}

fn asked(slot: &FileSlot, url: &str) -> Option<String> {
    let mut headers = HeaderMap::new();
    slot.ask_for_rest(url, &mut headers);
    let value = |name| headers.get(name)?.to_str().ok();
    Some(format!("{} {}", value(RANGE)?, value(IF_RANGE)?))
}

#[test]
fn a_body_is_continued_where_it_broke_off() {
    let dir = tempfile::tempdir().unwrap();
    let files = open(dir.path(), "{id}{ext}");
    let mut slot = broken(&files);
    assert_eq!(asked(&slot, "http://h/").as_deref(), Some("bytes=4- \"a\""));
    assert_eq!(asked(&slot, "http://h/other"), None);
    let rest = head(206, &[("content-range", "bytes 4-8/9")]);
    assert!(!slot.refuses(&rest));
    assert_eq!(slot.begin("http://h/", &rest), 4);
    slot.push(b"nning");
    at_once(slot.finish(Url::parse("http://h/").unwrap(), None));
    assert_eq!(fs::read(dir.path().join("0.txt")).unwrap(), b"beginning");
    assert_eq!((slot.saved().unwrap().bytes, unfinished(dir.path())), (9, 0));
}

#[test]
fn a_body_begins_again_where_it_cannot_be_continued() {
    for rest in [
        head(206, &[("content-range", "bytes 3-8/9")]),
        head(206, &[]),
        head(416, &[("content-range", "bytes */3")]),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let mut slot = broken(&open(dir.path(), "{id}"));
        assert!(slot.refuses(&rest), "{rest:?}");
        assert!(!slot.refuses(&rest), "it is asked for the whole now");
        assert_eq!(asked(&slot, "http://h/"), None);
    }
    let dir = tempfile::tempdir().unwrap();
    let mut slot = broken(&open(dir.path(), "{id}"));
    assert_eq!(slot.begin("http://h/", &head(200, &[])), 0, "the content has changed");
    slot.push(b"new");
    at_once(slot.finish(Url::parse("http://h/").unwrap(), None));
    assert_eq!(fs::read(dir.path().join("0")).unwrap(), b"new");
    // Nobody knows what the disk holds of a file that was written before the machine stopped.
    let files = open(dir.path(), "{id}");
    broken(&files);
    let notes = dir.path().join(".muster/job/0.json");
    fs::write(&notes, fs::read_to_string(&notes).unwrap().replace("boot\":\"boot", "boot\":\"other"))
        .unwrap();
    assert_eq!(files.slot(0).unfinished, None);
}

#[test]
fn a_disk_that_says_no_ends_the_worker_and_not_the_input() {
    let dir = tempfile::tempdir().unwrap();
    let shortages = Shortages::default();
    fs::create_dir_all(dir.path().join(".muster/job/0.part")).unwrap();
    let files = open(dir.path(), "{id}");
    let spec = &files.inner.directory.spec;
    let files = Files::open(spec, Executor::EventLoop, &shortages).unwrap();
    let mut slot = files.slot(0);
    slot.begin("http://h/", &head(200, &[]));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(slot.finish(Url::parse("http://h/").unwrap(), None));
    assert_eq!(slot.saved(), None);
    assert!(shortages.hopeless().unwrap().starts_with("cannot save to "), "{:?}", shortages.hopeless());
}
