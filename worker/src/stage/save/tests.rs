//! Files on a real disk: their names, what is in the way of them, and bodies that break off.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
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
    slot.begin(&parsed(url), &head(200, &[]));
    slot.push(body.to_vec());
    at_once(slot.finish(parsed(url), None)).unwrap().unwrap();
    slot.saved().unwrap().clone()
}

fn parsed(url: &str) -> Url {
    Url::parse(url).unwrap()
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
fn a_duplicate_does_not_take_the_place_of_a_file_that_is_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    let files = open(dir.path(), "{sha256}");
    let path = dir.path().join(save(&files, 0, "http://h/a", b"hello").file);
    let inode = || fs::metadata(&path).unwrap().ino();
    let before = inode();
    save(&files, 1, "http://h/b", b"hello");
    assert_eq!((inode(), unfinished(dir.path())), (before, 0));
}

#[test]
fn no_file_is_replaced_by_other_content() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("mine"), "of the user").unwrap();
    let name = |body: &str, stem: &str, end: &str| {
        let mut digest = digest::Digest::default();
        digest.add(body.as_bytes());
        format!("{stem}~{}{end}", &digest.sum().sha256[..16])
    };
    // Two runs, whose inputs have the same ids.
    for _ in 0..2 {
        let files = open(dir.path(), "{path}");
        for (id, url, body, want) in [
            (0, "http://h/a.txt", "one", "a.txt".to_owned()),
            (1, "http://i/a.txt", "two", name("two", "a", ".txt")),
            (2, "http://j/a.txt", "one", "a.txt".to_owned()),
            (1, "http://i/a.txt", "three", name("three", "a", ".txt")),
            (3, "http://h/a.txt/b", "four", name("four", "b", "")),
            (4, "http://h/d/e", "five", "d/e".to_owned()),
            (5, "http://h/d", "six", name("six", "d", "")),
            (6, "http://h/mine", "seven", name("seven", "mine", "")),
        ] {
            assert_eq!(save(&files, id, url, body.as_bytes()).file, want, "{url}");
            assert_eq!(fs::read(dir.path().join(want)).unwrap(), body.as_bytes(), "{url}");
        }
    }
    assert_eq!(fs::read(dir.path().join("mine")).unwrap(), b"of the user");
    assert_eq!(fs::read(dir.path().join("a.txt")).unwrap(), b"one");
    // Someone has taken that name too.
    let taken = name("eight", "mine", "");
    fs::write(dir.path().join(&taken), "of the user").unwrap();
    let saved = save(&open(dir.path(), "{path}"), 7, "http://h/mine", b"eight");
    assert_eq!(saved.file, format!("~{}.txt", saved.sha256));
    assert_eq!(fs::read(dir.path().join(&taken)).unwrap(), b"of the user");
}

#[test]
fn no_link_is_followed() {
    let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let files = open(dir.path(), "{path}");
    symlink(elsewhere.path(), dir.path().join("out")).unwrap();
    fs::write(elsewhere.path().join("precious"), "data").unwrap();
    symlink(elsewhere.path().join("precious"), dir.path().join("link")).unwrap();
    assert_eq!(save(&files, 0, "http://h/out/x", b"a").file, "x~ca978112ca1bbdca");
    assert_eq!(save(&files, 1, "http://h/link", b"data").file, "link~3a6eb0790f39ac87");
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
        slot.begin(&parsed("http://h/"), &head(200, headers));
        slot.push(b"begi".to_vec());
        at_once(slot.break_off());
        let slot = files.slot(0);
        assert_eq!(slot.unfinished.is_some(), kept, "{headers:?}");
        assert_eq!(unfinished(dir.path()), if kept { 2 } else { 0 }, "{headers:?}");
    }
}

/// A slot whose file is unfinished: `begi` of `http://h/`.
fn broken(files: &Files) -> Box<FileSlot> {
    let mut slot = files.slot(0);
    slot.begin(&parsed("http://h/"), &head(200, &[("etag", "\"a\"")]));
    slot.push(b"begi".to_vec());
    at_once(slot.break_off());
    files.slot(0)
}

fn asked(slot: &mut FileSlot, url: &str) -> Option<String> {
    let mut request = Request::new(Bytes::new());
    slot.ask_for_rest(&parsed(url), &mut request);
    let value = |name| request.headers().get(name)?.to_str().ok();
    Some(format!("{} {}", value(RANGE)?, value(IF_RANGE)?))
}

#[test]
fn a_body_is_continued_where_it_broke_off() {
    let dir = tempfile::tempdir().unwrap();
    let files = open(dir.path(), "{id}{ext}");
    let mut slot = broken(&files);
    let rest = head(206, &[("content-range", "bytes 4-8/9"), ("etag", "\"a\"")]);
    assert_eq!(asked(&mut slot, "http://h/other"), None);
    assert_eq!(slot.rest(&rest), None, "nobody asked for it");
    assert_eq!(asked(&mut slot, "http://h/").as_deref(), Some("bytes=4- \"a\""));
    assert!(!slot.refuses(&rest));
    assert_eq!(slot.rest(&rest), Some(Rest { offset: 4, bytes: 5 }));
    slot.begin(&parsed("http://h/"), &rest);
    slot.push(b"nning".to_vec());
    at_once(slot.finish(parsed("http://h/"), None)).unwrap().unwrap();
    assert_eq!(fs::read(dir.path().join("0.txt")).unwrap(), b"beginning");
    assert_eq!((slot.saved().unwrap().bytes, unfinished(dir.path())), (9, 0));
}

#[test]
fn what_another_request_than_a_plain_get_gets_is_not_continued() {
    let dir = tempfile::tempdir().unwrap();
    let files = open(dir.path(), "{id}");
    let post = || Request::post("/").body(Bytes::new()).unwrap();
    for mut request in [post(), Request::new(Bytes::from_static(b"{}"))] {
        let mut slot = broken(&files);
        slot.ask_for_rest(&parsed("http://h/"), &mut request);
        assert_eq!(request.headers().get(RANGE), None);
        slot.begin(&parsed("http://h/"), &head(200, &[("etag", "\"a\"")]));
        slot.push(b"begi".to_vec());
        at_once(slot.break_off());
        assert_eq!(unfinished(dir.path()), 0);
    }
}

#[test]
fn a_body_begins_again_where_it_cannot_be_continued() {
    for rest in [
        head(206, &[("content-range", "bytes 3-8/9"), ("etag", "\"a\"")]),
        head(206, &[("content-range", "bytes 4-8/9"), ("etag", "\"b\"")]),
        head(206, &[("etag", "\"a\"")]),
        head(416, &[("content-range", "bytes */3")]),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let mut slot = broken(&open(dir.path(), "{id}"));
        assert!(asked(&mut slot, "http://h/").is_some());
        assert!(slot.refuses(&rest), "{rest:?}");
        assert!(!slot.refuses(&rest), "it is asked for the whole now");
        assert_eq!(asked(&mut slot, "http://h/"), None);
    }
    let dir = tempfile::tempdir().unwrap();
    let mut slot = broken(&open(dir.path(), "{id}"));
    // The content has changed.
    slot.begin(&parsed("http://h/"), &head(200, &[]));
    slot.push(b"new".to_vec());
    at_once(slot.finish(parsed("http://h/"), None)).unwrap().unwrap();
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
    slot.begin(&parsed("http://h/"), &head(200, &[]));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(slot.finish(parsed("http://h/"), None)).unwrap();
    assert_eq!(slot.saved(), None);
    assert!(shortages.hopeless().unwrap().starts_with("cannot save to "), "{:?}", shortages.hopeless());
}

#[test]
fn a_worker_that_cannot_name_a_file_is_at_its_end_before_the_target_goes_on() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let sha256 = save(&open(other.path(), "{id}"), 0, "http://h/", b"body").sha256;
    for name in ["0".to_owned(), format!("0~{}", &sha256[..16]), format!("~{sha256}.txt")] {
        fs::create_dir(dir.path().join(name)).unwrap();
    }
    let shortages = Shortages::default();
    let spec = open(dir.path(), "{id}").inner.directory.spec.clone();
    let files = Files::open(&spec, Executor::EventLoop, &shortages).unwrap();
    let mut slot = files.slot(0);
    slot.begin(&parsed("http://h/"), &head(200, &[]));
    slot.push(b"body".to_vec());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let finished = runtime.block_on(slot.finish(parsed("http://h/"), None));
    assert!(shortages.hopeless().is_some(), "{finished:?}, {:?}", slot.saved());
}

#[test]
fn after_an_error_of_the_disk_nothing_has_a_name_or_is_continued() {
    let dir = tempfile::tempdir().unwrap();
    let shortages = Shortages::default();
    let spec = open(dir.path(), "{id}").inner.directory.spec.clone();
    let files = Files::open(&spec, Executor::Blocking, &shortages).unwrap();
    let mut slots = [0, 1].map(|id| files.slot(id));
    for slot in &mut slots {
        slot.begin(&parsed("http://h/"), &head(200, &[("etag", "\"a\"")]));
        slot.push(b"be".to_vec());
    }
    let part = dir.path().join(".muster/job/0.part");
    fs::remove_file(&part).unwrap();
    fs::create_dir(&part).unwrap();
    let rest = Unfinished::new(files.inner.directory.unfinished(1).unwrap().notes, 2).unwrap();
    files.send(0, Step::Continue(rest, Arc::default()));
    assert!(slots.iter().all(|slot| slot.is_lost()));
    // Meanwhile the disk has recovered.
    fs::remove_dir(&part).unwrap();
    for (slot, id) in slots.iter_mut().zip(["0", "1"]) {
        slot.push(b"gin".to_vec());
        at_once(slot.finish(parsed("http://h/"), None)).unwrap().unwrap();
        assert!(slot.saved().is_none() && !dir.path().join(id).exists(), "{id}");
    }
    let files = Files::open(&spec, Executor::Blocking, &Shortages::default()).unwrap();
    assert_eq!(files.slot(0).unfinished, None, "nobody knows what is in it");
    assert_eq!(files.slot(1).unfinished.as_ref().unwrap().offset, 2);
}

#[test]
fn a_file_that_has_become_shorter_is_not_filled_with_zeros() {
    let dir = tempfile::tempdir().unwrap();
    let shortages = Shortages::default();
    let spec = open(dir.path(), "{id}").inner.directory.spec.clone();
    let files = Files::open(&spec, Executor::Blocking, &shortages).unwrap();
    let mut slot = files.slot(0);
    slot.begin(&parsed("http://h/"), &head(200, &[("etag", "\"a\"")]));
    slot.push(b"begin".to_vec());
    let unfinished = Unfinished::new(files.inner.directory.unfinished(0).unwrap().notes, 5).unwrap();
    fs::write(dir.path().join(".muster/job/0.part"), b"be").unwrap();
    files.send(0, Step::Continue(unfinished, Arc::default()));
    assert!(shortages.hopeless().unwrap().contains("shorter"), "{:?}", shortages.hopeless());
    assert_eq!(files.slot(0).unfinished, None, "it begins again");
}
