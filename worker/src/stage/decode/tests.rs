use std::io::Write as _;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

use super::*;

pub(crate) fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn zlib(plain: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn raw_deflate(plain: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn brotli(plain: &[u8]) -> Vec<u8> {
    let mut encoded = Vec::new();
    let mut encoder = brotli::CompressorWriter::new(&mut encoded, 4096, 5, 22);
    encoder.write_all(plain).unwrap();
    drop(encoder);
    encoded
}

pub(crate) fn zstandard(plain: &[u8]) -> Vec<u8> {
    zstd::encode_all(plain, 3).unwrap()
}

fn page() -> Vec<u8> {
    (0..4000).flat_map(|i| format!("<li>{i} {}</li>", i * 7919 % 1013).into_bytes()).collect()
}

fn parse(value: &str) -> Result<Vec<Coding>, DecodeError> {
    let mut headers = HeaderMap::new();
    headers.append(CONTENT_ENCODING, value.parse().unwrap());
    codings(&headers)
}

fn decode(value: &str, encoded: &[u8], piece: usize, bytes_max: u64) -> Result<Vec<u8>, DecodeError> {
    let mut decoder = Decoder::new(&parse(value)?)?;
    let mut body = Vec::new();
    for piece in encoded.chunks(piece) {
        decoder.push(piece, &mut body, bytes_max)?;
        assert!(body.len() as u64 <= bytes_max);
    }
    decoder.finish().map(|()| body)
}

#[test]
fn every_coding_decodes_in_pieces_of_any_size() {
    let page = page();
    let twice = [gzip(&page), gzip(b"and more")].concat();
    let padded = [gzip(&page), vec![0; 512]].concat();
    let frames = [zstandard(&page), zstandard(b"and more")].concat();
    let more = [&page[..], b"and more"].concat();
    for (value, encoded, plain) in [
        ("identity", page.clone(), &page),
        ("gzip", gzip(&page), &page),
        ("X-Gzip", gzip(&page), &page),
        ("gzip", twice, &more),
        ("gzip", padded, &page),
        ("deflate", zlib(&page), &page),
        ("deflate", raw_deflate(&page), &page),
        ("br", brotli(&page), &page),
        ("zstd", zstandard(&page), &page),
        ("zstd", frames, &more),
        ("gzip, br", brotli(&gzip(&page)), &page),
        ("deflate, identity , zstd,gzip", gzip(&zstandard(&raw_deflate(&page))), &page),
        ("gzip", Vec::new(), &Vec::new()),
        ("br", brotli(b""), &Vec::new()),
    ] {
        for piece in [1, 7, 4096, usize::MAX] {
            let got = decode(value, &encoded, piece, 1 << 20);
            assert!(got.as_ref() == Ok(plain), "{value} in pieces of {piece}: {:?}", got.map(|b| b.len()));
        }
    }
}

#[test]
fn what_is_cut_short_or_broken_says_so() {
    let page = page();
    for (value, encoded) in [
        ("gzip", gzip(&page)),
        ("deflate", zlib(&page)),
        ("deflate", raw_deflate(&page)),
        ("br", brotli(&page)),
        ("zstd", zstandard(&page)),
    ] {
        for cut in [1, encoded.len() / 2, encoded.len() - 1] {
            let got = decode(value, &encoded[..cut], 100, 1 << 20);
            assert_eq!(got, Err(DecodeError::Truncated(value)), "{value} cut to {cut}");
        }
        let mut broken = encoded.clone();
        broken.iter_mut().skip(10).step_by(3).for_each(|b| *b ^= 0xa5);
        assert_eq!(decode(value, &broken, 100, 1 << 20), Err(DecodeError::Corrupt(value)));
        let html = b"<!doctype html><title>not encoded at all</title>";
        assert!(decode(value, html, 100, 1 << 20).is_err(), "{value}");
    }
}

#[test]
fn a_wrong_checksum_is_corrupt() {
    let mut encoded = gzip(&page());
    let end = encoded.len();
    encoded[end - 6] ^= 1;
    assert_eq!(decode("gzip", &encoded, 64, 1 << 20), Err(DecodeError::Corrupt("gzip")));
}

#[test]
fn a_bomb_stops_at_the_limit() {
    let zeros = vec![0; 8 << 20];
    for (value, encoded) in [
        ("gzip", gzip(&zeros)),
        ("gzip, gzip", gzip(&gzip(&zeros))),
        ("deflate", raw_deflate(&zeros)),
        ("br", brotli(&zeros)),
        ("zstd", zstandard(&zeros)),
    ] {
        assert_eq!(decode(value, &encoded, usize::MAX, 100_000), Err(DecodeError::TooLarge), "{value}");
        assert_eq!(decode(value, &encoded, usize::MAX, 8 << 20).map(|b| b.len()), Ok(8 << 20), "{value}");
        assert_eq!(decode(value, &encoded, usize::MAX, (8 << 20) - 1), Err(DecodeError::TooLarge), "{value}");
    }
}

#[test]
fn a_zstd_window_over_the_standards_limit_is_refused() {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(27).unwrap();
    encoder.write_all(&vec![7; 1 << 24]).unwrap();
    let encoded = encoder.finish().unwrap();
    assert_eq!(decode("zstd", &encoded, 4096, 1 << 25), Err(DecodeError::Corrupt("zstd")));
}

#[test]
fn unknown_and_endless_stacks_are_refused() {
    assert_eq!(parse("compress"), Err(DecodeError::Unknown("compress".into())));
    assert_eq!(parse("gzip,gzip,gzip,gzip"), Err(DecodeError::Stacked(4)));
    assert_eq!(parse("gzip;q=1"), Err(DecodeError::Unknown("gzip;q=1".into())));
}
