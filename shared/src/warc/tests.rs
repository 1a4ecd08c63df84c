use std::io::Read as _;
use std::time::Duration;

use flate2::bufread::GzDecoder;

use super::*;

const INFO: [u8; 16] = [7; 16];

fn record<'a>(head: &'a [u8], payload: Option<&'a [u8]>, shrinks: bool) -> Record<'a> {
    Record {
        kind: if payload.is_some() { Kind::Response } else { Kind::Metadata },
        id: Id::from_bytes(INFO),
        date: SystemTime::UNIX_EPOCH + Duration::from_micros(1_500_000),
        target: Some("http://a/"),
        concurrent_to: None,
        extra: "WARC-Truncated: length\r\n",
        head,
        payload,
        shrinks,
    }
}

#[test]
fn a_record_reads_as_the_standard_says() {
    let mut writer = Writer::new(WarcSpec { gzip: false, info: INFO });
    let mut out = Vec::new();
    writer.append(&record(b"HTTP/1.1 200 OK\r\n\r\n", Some(b"abc"), true), &mut out);
    let want = "WARC/1.1\r\nWARC-Type: response\r\n\
        WARC-Record-ID: <urn:uuid:07070707-0707-0707-0707-070707070707>\r\n\
        WARC-Date: 1970-01-01T00:00:01.500000Z\r\n\
        WARC-Warcinfo-ID: <urn:uuid:07070707-0707-0707-0707-070707070707>\r\n\
        WARC-Target-URI: http://a/\r\nWARC-Truncated: length\r\n\
        WARC-Payload-Digest: sha1:VGMT4NSHA2AWVOR6EVYXQUGCNSONBWE5\r\n\
        WARC-Block-Digest: sha1:";
    let text = String::from_utf8(out).unwrap();
    assert!(text.starts_with(want), "{text}");
    let end = "\r\nContent-Type: application/http;msgtype=response\r\nContent-Length: 22\r\n\r\n\
        HTTP/1.1 200 OK\r\n\r\nabc\r\n\r\n";
    assert!(text.ends_with(end), "{text}");
}

#[test]
fn every_record_is_one_member_however_large_it_is_and_whatever_it_holds() {
    let mut plain = Writer::new(WarcSpec { gzip: false, info: INFO });
    let mut packed = Writer::new(WarcSpec { gzip: true, info: INFO });
    let mut noise = fastrand_bytes(3 << 20);
    for length in [0, 1, 600, 1024, 65_535, 65_536, 200_000, 3 << 20] {
        for shrinks in [true, false] {
            noise.truncate(3 << 20);
            let text = b"<p>words and words</p>".repeat(length / 22 + 1);
            for payload in [noise.get(..length).unwrap(), text.get(..length).unwrap()] {
                let record = record(b"HTTP/1.1 200 OK\r\n\r\n", Some(payload), shrinks);
                let (mut want, mut out) = (Vec::new(), b"before".to_vec());
                plain.append(&record, &mut want);
                packed.append(&record, &mut out);
                let mut rest = out.get(6..).unwrap();
                let mut got = Vec::new();
                GzDecoder::new(&mut rest).read_to_end(&mut got).unwrap();
                assert!(got == want && rest.is_empty(), "{length} {shrinks}");
                assert!(out.len() < want.len() + want.len() / 1000 + 100, "{} {}", out.len(), want.len());
            }
        }
    }
}

/// Bytes that nothing can compress.
fn fastrand_bytes(count: usize) -> Vec<u8> {
    let mut state = 88_172_645_463_325_252_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..count).map(|_| next()).collect()
}

#[test]
fn ids_are_the_same_for_the_same_part_and_no_other() {
    let writer = Writer::new(WarcSpec { gzip: true, info: INFO });
    let mut seen = std::collections::BTreeSet::new();
    for target in [0, 1, 11] {
        for kind in [Kind::Request, Kind::Response, Kind::Metadata] {
            for hop in [0, 1, 10] {
                let id = writer.id(target, kind, hop);
                assert_eq!(id, writer.id(target, kind, hop));
                assert_eq!(Id::parse(&id.to_string()), Some(id));
                assert!(seen.insert(id.to_string()), "{id}");
                assert_eq!(id.to_string().chars().nth(23), Some('5'), "{id}");
            }
        }
    }
    assert_eq!(Id::random([0xff; 16]).to_string(), "urn:uuid:ffffffff-ffff-4fff-bfff-ffffffffffff");
    for text in ["", "urn:uuid:", "urn:uuid:0707", "07070707-0707-0707-0707-070707070707"] {
        assert_eq!(Id::parse(text), None, "{text}");
    }
}

#[test]
fn digests_are_those_of_the_standards_own_examples() {
    for (text, digest) in
        [("", "3I42H3S6NNFQ2MSVX7XZKYAYSCX5QBYJ"), ("abc", "VGMT4NSHA2AWVOR6EVYXQUGCNSONBWE5")]
    {
        assert_eq!(base32(&sha1_of(&[text.as_bytes()])), digest);
    }
}

#[test]
fn two_digests_side_by_side_are_those_of_each_alone() {
    let noise = fastrand_bytes(400);
    for head in [0, 1, 20, 63, 64, 65, 127, 128, 200] {
        for length in [0, 1, 43, 44, 45, 63, 64, 65, 127, 128, 129, 192, 199] {
            let (head, payload) = (&noise[..head], &noise[200..200 + length]);
            let want = [sha1_of(&[head, payload]), sha1_of(&[payload])];
            assert_eq!(sha1_of_both(head, payload), want, "{} {length}", head.len());
        }
    }
}
