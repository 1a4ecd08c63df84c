//! The reader: a process that decompresses, decodes and parses one list, and gives its targets to the supervisor. Of a
//! CSV file that is to be aggregated, it reads the first row.
//!
//! It opens the file, gives up every other right, and only then reads. So whatever a list does to a decoder, it gets
//! no file, no connection and no process, and no more memory than [`MEMORY_BYTES_MAX`].

mod sandbox;

use std::io::{self, Read as _, Write};
use std::process::ExitCode;

use encoding_rs::Encoding;
use shared::framed;

use super::feed::Feed;
use super::header::{CsvReading, Header, NamedFile, OpenFile};
use super::packed::ListFile;
use super::remote::{HeaderReply, MEMORY_BYTES_MAX, Reply, Request};
use super::{Candidate, Next, SourceError};
use crate::plan::ListReading;

/// Longest request: a job document has at most 2 MiB.
const REQUEST_BYTES_MAX: u64 = 4 << 20;

/// Targets in one message.
const TARGETS: usize = 1024;

/// Bytes of targets after which a message is sent.
const BYTES: usize = 256 * 1024;

/// Most lines in one target.
const LINES: usize = 64;

/// Reads the list that standard input asks for, and writes its targets to standard output.
pub(crate) fn read_list() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        // The supervisor has gone, or its request cannot be read. Nobody listens.
        Err(_) => ExitCode::FAILURE,
    }
}

fn serve() -> io::Result<()> {
    sandbox::limit(MEMORY_BYTES_MAX)?;
    let mut message = Vec::new();
    io::stdin().lock().take(REQUEST_BYTES_MAX).read_to_end(&mut message)?;
    let Some((request, [])) = framed::first::<Request>(&message) else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    let mut out = io::stdout().lock();
    let named = |name: Option<String>| name.and_then(|name| Encoding::for_label(name.as_bytes()));
    match request {
        Request::List { path, format, kind, encoding, delimiter } => {
            let lists = ListReading { encoding: named(encoding), delimiter, isolated: false };
            let list = ListFile::open(&path);
            seal();
            match list.and_then(|list| Feed::list(list, &format, kind, lists)) {
                Ok(feed) => {
                    send(&mut out, &Reply::Opened)?;
                    relay(feed, &mut out)
                }
                Err(error) => send(&mut out, &Reply::Failed(error.to_string())),
            }
        }
        Request::Header { path, delimiter, header, encoding, decodes } => {
            let reading =
                CsvReading { delimiter, header, encoding: named(encoding), decodes, isolated: None };
            let given = NamedFile::new(&path);
            let opened = given.as_ref().map_err(ToString::to_string);
            let opened = opened.and_then(|given| OpenFile::open(given).map_err(|error| error.to_string()));
            seal();
            match opened.and_then(|opened| opened.first_row(reading).map_err(|error| error.to_string())) {
                Ok(Header { file, names, encoding }) => {
                    let encoding = encoding.name().to_owned();
                    send(&mut out, &Reply::Header(HeaderReply { file, names, encoding }))
                }
                Err(why) => send(&mut out, &Reply::Failed(why)),
            }
        }
    }
}

/// Gives up what a reader does not need. On a kernel without seccomp, the limit on memory and the process of its own
/// remain.
fn seal() {
    let _ = sandbox::enter();
}

/// Sends all targets.
fn relay(mut feed: Feed, out: &mut impl Write) -> io::Result<()> {
    loop {
        let mut batch = Vec::new();
        let last = collect(&mut feed, &mut batch);
        if !batch.is_empty() {
            send(out, &Reply::Targets(batch, feed.bytes_read()))?;
        }
        match last {
            Ok(false) => {}
            Ok(true) => return send(out, &Reply::End),
            Err(error) => return send(out, &Reply::Failed(error.to_string())),
        }
    }
}

/// Collects the targets of one message. Returns whether the list has ended.
fn collect(feed: &mut Feed, batch: &mut Vec<Candidate>) -> Result<bool, SourceError> {
    let mut bytes = 0;
    while batch.len() < TARGETS && bytes < BYTES {
        match feed.next(LINES)? {
            Next::Target(target) => {
                bytes += target.input.len() + target.kept.len();
                batch.push(target);
            }
            Next::Later => {}
            Next::End => return Ok(true),
        }
    }
    Ok(false)
}

fn send(out: &mut impl Write, reply: &Reply) -> io::Result<()> {
    let mut message = Vec::new();
    framed::push(reply, &mut message);
    out.write_all(&message)?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::TargetKind;
    use super::super::remote::ListFormat;
    use super::*;

    fn replies(name: &str, bytes: &[u8], format: &ListFormat) -> Vec<Reply> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(name);
        fs::write(&path, bytes).unwrap();
        let list = ListFile::open(&path).unwrap();
        let feed = Feed::list(list, format, TargetKind::Url, ListReading::default()).unwrap();
        let mut sent = Vec::new();
        relay(feed, &mut sent).unwrap();
        let (mut rest, mut replies) = (sent.as_slice(), Vec::new());
        while !rest.is_empty() {
            let (reply, after) = framed::first(rest).unwrap();
            replies.push(reply);
            rest = after;
        }
        replies
    }

    #[test]
    fn all_targets_of_a_list_are_sent_and_then_its_end() {
        let text: String = (0..3000).map(|n| format!("http://{n}/\n")).collect();
        let replies = replies("a.txt", text.as_bytes(), &ListFormat::Lines);
        let mut count = 0;
        for reply in &replies {
            if let Reply::Targets(targets, _) = reply {
                count += targets.len();
            }
        }
        assert_eq!((count, replies.last()), (3000, Some(&Reply::End)));
        let read = |reply: &Reply| if let Reply::Targets(_, read) = reply { *read } else { 0 };
        assert_eq!(replies.iter().map(read).max(), Some(text.len() as u64));
    }

    #[test]
    fn what_was_read_before_damage_is_sent_before_the_reason() {
        let mut packed = zstd::encode_all(&b"http://a/\n".repeat(100)[..], 1).unwrap();
        packed.extend_from_slice(b"not a frame");
        let replies = replies("a.zst", &packed, &ListFormat::Lines);
        let [Reply::Targets(targets, _), Reply::Failed(why)] = replies.as_slice() else {
            panic!("{replies:?}");
        };
        assert_eq!(targets.len(), 100);
        assert!(why.contains("a.zst at line 101: its zstd data is damaged"), "{why}");
    }
}
