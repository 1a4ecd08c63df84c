//! What the supervisor itself does with a web archive: it writes the first record, which
//! names the writer, and it checks an archive that exists. All other records come from
//! [`Encoder`](shared::encoder::Encoder); [`shared::warc`] has the format.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use anyhow::{Context as _, bail};
use flate2::bufread::MultiGzDecoder;
use serde::Deserialize;
use serde::de::IgnoredAny;
use shared::clock;
use shared::job::WarcSpec;
use shared::warc::{Id, Kind, Record, Writer};

use crate::plan::{Output, Plan};
use crate::sink::{Outlet, SinkError};

/// Longest line in a record's header: a target's URI and its name.
const LINE_BYTES_MAX: u64 = 64 * 1024;

/// Longest metadata block that is read; a record of ours has less.
const METADATA_BYTES_MAX: u64 = 256 << 20;

/// Returns how the records of an archive are encoded. Writes its first record into an outlet that is empty;
/// continues the archive in one that is not.
///
/// # Errors
/// When the archive to continue has no first record of ours, or the first record cannot be written.
pub(crate) fn begin(plan: &Plan, gzip: bool, outlet: &mut Outlet) -> Result<WarcSpec, SinkError> {
    let (name, path) = match &plan.output {
        Output::File { path, .. } => (path.file_name().map(|name| name.to_string_lossy()), Some(path)),
        Output::Stdout | Output::Discard => (None, None),
    };
    if let Some(path) = path.filter(|_| outlet.committed_len() > 0) {
        let id = first_id(path, gzip)
            .map_err(|error| SinkError::Changed { path: path.clone(), why: error.to_string() })?;
        return Ok(WarcSpec { gzip, info: id.to_bytes() });
    }
    let mut random = [0; 16];
    File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut random))
        .map_err(|cause| SinkError::Open { path: "/dev/urandom".into(), cause })?;
    let id = Id::random(random);
    let spec = WarcSpec { gzip, info: id.to_bytes() };
    let plain = name.filter(|name| !name.chars().any(char::is_control));
    let mut record = Vec::new();
    Writer::new(spec).append(
        &Record {
            kind: Kind::Warcinfo,
            id,
            date: clock::wall(),
            target: None,
            concurrent_to: None,
            extra: &plain.map(|name| format!("WARC-Filename: {name}\r\n")).unwrap_or_default(),
            head: concat!(
                "software: muster/",
                env!("CARGO_PKG_VERSION"),
                "\r\nformat: WARC File Format 1.1\r\n",
                "conformsTo: http://iipc.github.io/warc-specifications/specifications/warc-format/warc-1.1/\r\n"
            )
            .as_bytes(),
            payload: None,
            shrinks: true,
        },
        &mut record,
    );
    outlet.write(&record)?;
    Ok(spec)
}

/// The id of an archive's first record.
fn first_id(path: &Path, gzip: bool) -> anyhow::Result<Id> {
    let mut records = Records::open(path, gzip)?;
    match records.next_header()? {
        Some(Header { kind, id: Some(id), .. }) if kind == Kind::Warcinfo.name() => Ok(id),
        Some(_) | None => bail!("its first record is not that of such a run"),
    }
}

/// Reads a whole archive. Returns how many inputs have their metadata in it, and how many of these are errors.
///
/// # Errors
/// When it cannot be read, or is not a whole archive of ours.
pub(crate) fn count(path: &Path, gzip: bool) -> anyhow::Result<(u64, u64)> {
    let mut records = Records::open(path, gzip)?;
    let (mut metadata, mut failed) = (0, 0);
    while let Some(header) = records.next_header()? {
        if header.kind != Kind::Metadata.name() {
            records.skip_block(header.length)?;
            continue;
        }
        let seen: Seen = serde_json::from_slice(&records.block(header.length)?)
            .with_context(|| format!("record {} has no JSON record of ours", records.number))?;
        metadata += 1;
        failed += u64::from(seen.error.is_some());
    }
    Ok((metadata, failed))
}

/// The parts of a JSON record that tell whether it is a record, and whether it is an error.
#[derive(Deserialize)]
struct Seen {
    #[serde(rename = "id")]
    _id: u64,
    error: Option<IgnoredAny>,
}

/// The parts of a record's header that are used.
struct Header {
    kind: String,
    id: Option<Id>,
    length: u64,
}

/// The records of a file, one after the other.
struct Records {
    reader: Box<dyn BufRead>,
    /// Records begun so far.
    number: u64,
}

impl Records {
    fn open(path: &Path, gzip: bool) -> anyhow::Result<Self> {
        let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
        let file = BufReader::with_capacity(1 << 20, file);
        let reader: Box<dyn BufRead> =
            if gzip { Box::new(BufReader::new(MultiGzDecoder::new(file))) } else { Box::new(file) };
        Ok(Self { reader, number: 0 })
    }

    /// The next record's header; `None` at the end.
    fn next_header(&mut self) -> anyhow::Result<Option<Header>> {
        match self.line()?.as_deref() {
            None => return Ok(None),
            Some("WARC/1.1") => self.number += 1,
            Some(_) => bail!("record {} is followed by something else than a record", self.number),
        }
        let mut header = Header { kind: String::new(), id: None, length: 0 };
        loop {
            let Some(line) = self.line()? else { bail!("record {} is cut short", self.number) };
            let Some((name, value)) = line.split_once(": ") else {
                if line.is_empty() {
                    return Ok(Some(header));
                }
                bail!("record {} has a malformed header: {line}", self.number);
            };
            match name {
                "WARC-Type" => value.clone_into(&mut header.kind),
                "WARC-Record-ID" => header.id = Id::parse(value.trim_matches(['<', '>'])),
                "Content-Length" => header.length = value.parse()?,
                _ => {}
            }
        }
    }

    fn block(&mut self, length: u64) -> anyhow::Result<Vec<u8>> {
        if length > METADATA_BYTES_MAX {
            bail!("record {} has {length} bytes of metadata", self.number);
        }
        let mut block = Vec::new();
        (&mut self.reader).take(length).read_to_end(&mut block)?;
        self.end_block(block.len() as u64 == length)?;
        Ok(block)
    }

    fn skip_block(&mut self, length: u64) -> anyhow::Result<()> {
        let skipped = io::copy(&mut (&mut self.reader).take(length), &mut io::sink())?;
        self.end_block(skipped == length)
    }

    fn end_block(&mut self, whole: bool) -> anyhow::Result<()> {
        let mut end = [0; 4];
        if !whole || self.reader.read_exact(&mut end).is_err() || end != *b"\r\n\r\n" {
            bail!("record {} is cut short", self.number);
        }
        Ok(())
    }

    /// A line without its end; `None` at the end of the file.
    fn line(&mut self) -> anyhow::Result<Option<String>> {
        let mut line = Vec::new();
        (&mut self.reader).take(LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
        if line.is_empty() {
            return Ok(None);
        }
        match line.strip_suffix(b"\r\n") {
            Some(line) => Ok(Some(String::from_utf8_lossy(line).into_owned())),
            None => bail!("record {} has a line without an end", self.number),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::warc::Metadata;

    fn archive(gzip: bool, jsons: &[&str]) -> Vec<u8> {
        let mut writer = Writer::new(WarcSpec { gzip, info: [5; 16] });
        let mut bytes = Vec::new();
        for (target, json) in (0..).zip(jsons) {
            let (date, json) = (clock::wall(), json.as_bytes());
            let metadata = Metadata { target, date, uri: Some("http://a/"), concurrent_to: None, json };
            writer.append_metadata(&metadata, &mut bytes);
        }
        bytes
    }

    #[test]
    fn an_archive_is_counted_by_its_metadata_and_must_be_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.warc");
        for gzip in [false, true] {
            let whole = archive(gzip, &["{\"id\":0}\n", "{\"id\":1,\"error\":{\"kind\":\"dns\"}}"]);
            std::fs::write(&path, &whole).unwrap();
            assert_eq!(count(&path, gzip).unwrap(), (2, 1));
            assert!(first_id(&path, gzip).is_err(), "that is no warcinfo");
            std::fs::write(&path, &whole[..whole.len() - 6]).unwrap();
            assert!(count(&path, gzip).is_err());
            std::fs::write(&path, archive(gzip, &["{\"name\":0}"])).unwrap();
            assert!(count(&path, gzip).is_err());
            std::fs::write(&path, "").unwrap();
            assert_eq!(count(&path, gzip).unwrap_or((0, 0)), (0, 0));
        }
        std::fs::write(&path, "data\n").unwrap();
        assert!(count(&path, false).is_err());
    }
}
