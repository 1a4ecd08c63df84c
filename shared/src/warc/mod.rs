//! WARC 1.1 (ISO 28500): the records of a web archive, encoded one by one. Used
//! by the workers for what they fetched, and by the supervisor for the archive's first
//! record and for inputs that no worker could finish.
//!
//! Invariant: every record is complete in itself (compressed, it is a gzip member of its
//! own), so that records of many workers can be appended in any order.

mod digest;
mod id;
mod member;

use std::fmt::Write as _;
use std::time::SystemTime;

use url::Url;

pub use self::digest::base32;
use self::digest::{sha1_of, sha1_of_both};
pub use self::id::Id;
use self::member::Packer;
use crate::job::WarcSpec;

/// What a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The first of a file: who wrote it.
    Warcinfo,
    /// What was sent.
    Request,
    /// What came back.
    Response,
    /// The head that says that a page is as an earlier visit found it.
    Revisit,
    /// What else is known.
    Metadata,
}

impl Kind {
    /// The name in `WARC-Type`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Warcinfo => "warcinfo",
            Self::Request => "request",
            Self::Response => "response",
            Self::Revisit => "revisit",
            Self::Metadata => "metadata",
        }
    }

    const fn content_type(self) -> &'static str {
        match self {
            Self::Warcinfo => "application/warc-fields",
            Self::Request => "application/http;msgtype=request",
            Self::Response | Self::Revisit => "application/http;msgtype=response",
            Self::Metadata => "application/json",
        }
    }
}

/// One record, before it is encoded.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// What it is.
    pub kind: Kind,
    /// Its own name.
    pub id: Id,
    /// When what it holds happened.
    pub date: SystemTime,
    /// The URI it is about, if it is about one.
    pub target: Option<&'a str>,
    /// The record it belongs to.
    pub concurrent_to: Option<Id>,
    /// Further header lines, each complete with its line end.
    pub extra: &'a str,
    /// The block: the head of an HTTP message, or all of it.
    pub head: &'a [u8],
    /// The rest of the block: the body of a response, which has a digest of its own.
    pub payload: Option<&'a [u8]>,
    /// Whether compressing it is worth the time. A body that came compressed does not shrink any more.
    pub shrinks: bool,
}

/// Encodes records; keeps its buffers and tables from one to the next.
#[derive(Debug)]
pub struct Writer {
    info: Id,
    packer: Option<Packer>,
    header: String,
}

impl Writer {
    /// For an archive.
    #[must_use]
    pub fn new(spec: WarcSpec) -> Self {
        Self {
            info: Id::from_bytes(spec.info),
            packer: spec.gzip.then(Packer::default),
            header: String::new(),
        }
    }

    /// The id of a record of this archive. It is the same for the same target, kind and hop, so that work repeated
    /// after a crash gets the same ids.
    #[must_use]
    pub fn id(&self, target: u64, kind: Kind, hop: usize) -> Id {
        self.info.child(&format!("{target} {} {hop}", kind.name()))
    }

    /// Appends `record` to `out`.
    pub fn append(&mut self, record: &Record<'_>, out: &mut Vec<u8>) {
        self.write_header(record);
        let parts = [self.header.as_bytes(), record.head, record.payload.unwrap_or_default(), b"\r\n\r\n"];
        match &mut self.packer {
            Some(packer) => packer.pack(&parts, record.shrinks, out),
            None => {
                out.reserve(parts.iter().map(|part| part.len()).sum());
                parts.iter().for_each(|part| out.extend_from_slice(part));
            }
        }
    }

    fn write_header(&mut self, record: &Record<'_>) {
        let header = &mut self.header;
        header.clear();
        // Writing to a string cannot fail.
        let _ = write!(header, "WARC/1.1\r\nWARC-Type: {}\r\n", record.kind.name());
        let _ = write!(header, "WARC-Record-ID: <{}>\r\n", record.id);
        let _ = write!(header, "WARC-Date: {}\r\n", humantime::format_rfc3339_micros(record.date));
        if record.kind != Kind::Warcinfo {
            let _ = write!(header, "WARC-Warcinfo-ID: <{}>\r\n", self.info);
        }
        if let Some(target) = record.target {
            let _ = write!(header, "WARC-Target-URI: {target}\r\n");
        }
        if let Some(other) = record.concurrent_to {
            let _ = write!(header, "WARC-Concurrent-To: <{other}>\r\n");
        }
        header.push_str(record.extra);
        let mut length = record.head.len();
        let block = match record.payload {
            Some(payload) => {
                let [block, alone] = sha1_of_both(record.head, payload);
                let _ = write!(header, "WARC-Payload-Digest: sha1:{}\r\n", base32(&alone));
                length += payload.len();
                block
            }
            None => sha1_of(&[record.head]),
        };
        let _ = write!(header, "WARC-Block-Digest: sha1:{}\r\n", base32(&block));
        let _ = write!(header, "Content-Type: {}\r\n", record.kind.content_type());
        let _ = write!(header, "Content-Length: {length}\r\n\r\n");
    }
}

/// An http(s) URL as it may appear in an archive: without credentials, which are secret, and without its fragment,
/// which is never sent.
#[must_use]
pub fn uri(url: &str) -> Option<String> {
    let mut url = Url::parse(url).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
    // Neither call can fail: an http(s) URL always has a host.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_fragment(None);
    Some(url.into())
}

/// A JSON record that becomes an archive's metadata record.
#[derive(Debug, Clone, Copy)]
pub struct Metadata<'a> {
    /// The target's id.
    pub target: u64,
    /// When it was done.
    pub date: SystemTime,
    /// Its URI, if it has one.
    pub uri: Option<&'a str>,
    /// The response that it is about, if there was one.
    pub concurrent_to: Option<Id>,
    /// The encoded record, with or without its newline.
    pub json: &'a [u8],
}

impl Writer {
    /// Appends the metadata record that every input has exactly one of.
    pub fn append_metadata(&mut self, metadata: &Metadata<'_>, out: &mut Vec<u8>) {
        let record = Record {
            kind: Kind::Metadata,
            id: self.id(metadata.target, Kind::Metadata, 0),
            date: metadata.date,
            target: metadata.uri,
            concurrent_to: metadata.concurrent_to,
            extra: "",
            head: metadata.json.trim_ascii_end(),
            payload: None,
            shrinks: true,
        };
        self.append(&record, out);
    }
}

#[cfg(test)]
mod tests;
