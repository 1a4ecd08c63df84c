//! The sink on real files, pipes and devices.

use std::fs;
use std::io::{PipeReader, Read as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use nix::fcntl::{FcntlArg, OFlag, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use super::*;
use crate::plan::Output;

fn open(path: &Path, overwrite: bool) -> Result<Sink, SinkError> {
    Sink::open(&Output::File { path: path.to_owned(), overwrite, resume: false })
}

/// A sink into a pipe, and the pipe's other end.
fn pipe() -> (Sink, PipeReader) {
    let (reader, writer) = io::pipe().unwrap();
    (Sink::new(File::from(OwnedFd::from(writer)), "the pipe".to_owned(), false), reader)
}

#[test]
fn what_is_written_is_in_the_file_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("out.jsonl");
    let mut sink = open(&path, false).unwrap();
    let mut expected = Vec::new();
    for size in [3, 10, BUFFER_BYTES - 13, 1, BUFFER_BYTES, 5, BUFFER_BYTES * 3, 7] {
        let mut line = vec![b'a' + u8::try_from(size % 26).unwrap(); size - 1];
        line.push(b'\n');
        sink.write(&line).unwrap();
        expected.extend(line);
        assert!(sink.committed_len() <= expected.len() as u64);
    }
    sink.flush().unwrap();
    assert_eq!(sink.committed_len(), expected.len() as u64);
    sink.finish().unwrap();
    assert!(fs::read(&path).unwrap() == expected);
}

#[test]
fn an_existing_file_is_refused_unless_it_may_be_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("out.jsonl");
    fs::write(&path, "what was there before\n").unwrap();
    let error = open(&path, false).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("{} exists; name another output, or replace it with --overwrite", path.display())
    );
    let mut sink = open(&path, true).unwrap();
    sink.write(b"new\n").unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "what was there before\n", "emptied too early");
    sink.finish().unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "new\n");
}

#[test]
fn a_run_that_never_got_going_leaves_things_as_they_were() {
    let directory = tempfile::tempdir().unwrap();
    let (old, new) = (directory.path().join("old"), directory.path().join("new"));
    fs::write(&old, "kept\n").unwrap();
    drop(open(&old, true).unwrap());
    drop(open(&new, false).unwrap());
    assert_eq!(fs::read_to_string(&old).unwrap(), "kept\n");
    assert!(!new.exists());
}

#[test]
fn a_run_without_records_leaves_an_empty_file() {
    let directory = tempfile::tempdir().unwrap();
    let (old, new) = (directory.path().join("old"), directory.path().join("new"));
    fs::write(&old, "replaced\n").unwrap();
    for path in [&old, &new] {
        open(path, true).unwrap().finish().unwrap();
        assert_eq!(fs::read(path).unwrap(), b"");
    }
}

#[test]
fn an_output_that_cannot_be_opened_says_why() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    fs::write(at("file"), "").unwrap();
    let table = [
        (
            at("none/out"),
            format!(
                "cannot create {}: there is no directory {}",
                at("none/out").display(),
                at("none").display()
            ),
        ),
        (at(""), format!("cannot write to {}: it is a directory", at("").display())),
        (at("new/"), format!("cannot write to {}: it is a directory", at("new/").display())),
        (
            at("file/out"),
            format!("cannot open {} for writing: Not a directory (os error 20)", at("file/out").display()),
        ),
        ("".into(), "cannot open  for writing: No such file or directory (os error 2)".to_owned()),
    ];
    for (path, expected) in table {
        for overwrite in [false, true] {
            assert_eq!(open(&path, overwrite).unwrap_err().to_string(), expected);
        }
    }
}

#[test]
fn a_file_without_write_permission_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("read-only");
    fs::write(&path, "kept\n").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).unwrap();
    // Root may write to it all the same; a program being run refuses root too.
    let path = if nix::unistd::geteuid().is_root() { std::env::current_exe().unwrap() } else { path };
    assert!(matches!(open(&path, true), Err(SinkError::Open { .. })));
}

#[test]
fn a_link_is_followed() {
    let directory = tempfile::tempdir().unwrap();
    let (link, file) = (directory.path().join("link"), directory.path().join("file"));
    symlink(&file, &link).unwrap();
    let mut sink = open(&link, false).unwrap();
    sink.write(b"1\n").unwrap();
    sink.finish().unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), "1\n");
    assert!(link.is_symlink());
    assert!(matches!(open(&link, false), Err(SinkError::Exists { .. })));
}

#[test]
fn devices_and_standard_output_are_not_asked_whether_they_exist() {
    let outputs = [
        Output::Stdout,
        Output::File { path: "/dev/null".into(), overwrite: false, resume: false },
        Output::File { path: "/dev/stdout".into(), overwrite: false, resume: false },
    ];
    for output in outputs {
        Sink::open(&output).unwrap().finish().unwrap();
    }
    let mut sink = open(Path::new("/dev/null"), true).unwrap();
    sink.write(b"1\n").unwrap();
    sink.finish().unwrap();
}

#[test]
fn a_fifo_is_written_to_and_not_taken_away() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("fifo");
    mkfifo(&path, Mode::S_IRWXU).unwrap();
    let reader = std::thread::spawn({
        let path = path.clone();
        move || fs::read_to_string(path).unwrap()
    });
    let mut sink = open(&path, false).unwrap();
    sink.write(b"1\n").unwrap();
    sink.finish().unwrap();
    assert_eq!(reader.join().unwrap(), "1\n");
    assert!(path.exists());
}

#[test]
fn a_reader_that_goes_away_is_told_from_a_failure() {
    let (mut sink, reader) = pipe();
    sink.write(b"1\n").unwrap();
    drop(reader);
    assert!(matches!(sink.flush(), Err(SinkError::Closed { .. })));
}

#[test]
fn a_pipe_that_does_not_block_is_waited_for() {
    let (mut sink, mut reader) = pipe();
    fcntl(sink.file.as_fd(), FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    let lines = b"0123456789abcde\n".repeat(64 * 1024);
    let expected = lines.clone();
    let writer = std::thread::spawn(move || {
        sink.write(&lines).unwrap();
        sink.finish().unwrap();
    });
    let mut read = Vec::new();
    reader.read_to_end(&mut read).unwrap();
    writer.join().unwrap();
    assert!(read == expected);
}

#[test]
fn a_full_disk_is_called_that() {
    let mut sink = open(Path::new("/dev/full"), false).unwrap();
    sink.write(b"1\n2\n").unwrap();
    let error = sink.finish().unwrap_err();
    assert_eq!(error.to_string(), "disk full: 0 records written to /dev/full");
}

#[test]
fn a_file_that_can_grow_no_further_keeps_whole_records() {
    // Sealed against growth, this file takes 4096 bytes and then fails, as a full disk would.
    let file = File::from(memfd_create("full", MFdFlags::MFD_ALLOW_SEALING).unwrap());
    file.set_len(4096).unwrap();
    fcntl(file.as_fd(), FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_GROW)).unwrap();
    let contents = file.try_clone().unwrap();
    let mut sink = Sink::new(file, "out".to_owned(), true);
    sink.begun = true;
    let record = b"{\"id\":12345}\n";
    sink.write(&record.repeat(200)).unwrap();
    sink.flush().unwrap();
    sink.write(&record.repeat(400)).unwrap();
    let error = sink.flush().unwrap_err();
    let whole = 4096 / record.len() as u64;
    assert_eq!(
        error.to_string(),
        format!("cannot write to out after {whole} records: Operation not permitted (os error 1)")
    );
    assert_eq!(contents.metadata().unwrap().len(), whole * record.len() as u64);
    assert_eq!(sink.committed_len(), whole * record.len() as u64);
}

#[test]
fn an_unfinished_output_is_cut_back_with_the_first_record() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("out.jsonl");
    fs::write(&path, "1\n2\n3\nhalf").unwrap();
    drop(Sink::resume(&path, 4, 2, false).unwrap());
    assert_eq!(fs::read_to_string(&path).unwrap(), "1\n2\n3\nhalf", "cut too early");
    for (bytes, opaque, text) in [(4, false, "1\n2\nnew\n"), (2, true, "1\nnew\n"), (0, false, "new\n")] {
        let mut sink = Sink::resume(&path, bytes, 2, opaque).unwrap();
        sink.write(b"new\n").unwrap();
        sink.finish().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
    fs::write(&path, "1\nhalf").unwrap();
    Sink::resume(&path, 2, 1, false).unwrap().finish().unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "1\n");
    assert!(matches!(Sink::resume(&path, 3, 2, false), Err(SinkError::Changed { .. })));
    assert!(matches!(Sink::resume(&path, 1, 1, false), Err(SinkError::Changed { .. })));
    assert!(matches!(Sink::resume(&directory.path().join("none"), 1, 1, false), Err(SinkError::Open { .. })));
}
