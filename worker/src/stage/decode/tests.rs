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

/// A frame with a checksum, which is optional.
fn checked_frame(plain: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
    encoder.include_checksum(true).unwrap();
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

/// A member whose head has every optional field, the last a checksum of the head.
fn gzip_with_all_fields(plain: &[u8]) -> Vec<u8> {
    let bare = gzip(plain);
    let mut member = bare[..10].to_vec();
    member[3] = 0b1_1110;
    member.extend_from_slice(b"\x05\x00extra");
    member.extend_from_slice(b"name\0comment\0\xab\xcd");
    member.extend_from_slice(&bare[10..]);
    member
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
    // Padding ends the body, even if another member seems to follow.
    let padded_between = [gzip(&page), vec![0; 3], gzip(b"and more")].concat();
    let garbage = [gzip(&page), b"\x1f\x8bnot gzip".to_vec()].concat();
    let garbage_again = [gzip(&page), b"\x1f".to_vec(), page.clone()].concat();
    let padded_zlib = [zlib(&page), vec![0; 512]].concat();
    let padded_brotli = [brotli(&page), vec![0; 512]].concat();
    let padded_frames = [zstandard(&page), zstandard(b"and more"), vec![0; 512]].concat();
    let frames = [zstandard(&page), zstandard(b"and more")].concat();
    let more = [&page[..], b"and more"].concat();
    for (value, encoded, plain) in [
        ("identity", page.clone(), &page),
        ("gzip", gzip(&page), &page),
        ("X-Gzip", gzip(&page), &page),
        ("gzip", twice, &more),
        ("gzip", padded, &page),
        ("gzip", padded_between, &page),
        ("gzip", garbage, &page),
        ("gzip", garbage_again, &page),
        ("gzip", [gzip(&page), b"\x1f".to_vec()].concat(), &page),
        ("gzip", gzip_with_all_fields(&page), &page),
        ("deflate", padded_zlib, &page),
        ("br", padded_brotli, &page),
        ("zstd", padded_frames, &more),
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
fn truncated_and_corrupt_data_are_reported() {
    let page = page();
    for (value, encoded) in [
        ("gzip", gzip(&page)),
        ("deflate", zlib(&page)),
        ("deflate", raw_deflate(&page)),
        ("br", brotli(&page)),
        ("zstd", zstandard(&page)),
    ] {
        // The checksums of gzip and zlib are not data; `a_missing_checksum_is_no_loss` cuts those.
        let trailer = match encoded.first() {
            Some(0x1f) => 8,
            Some(0x78) => 4,
            _ => 0,
        };
        for cut in [1, encoded.len() / 2, encoded.len() - trailer - 1] {
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
    for (value, encoded, trailer) in
        [("gzip", gzip(&page()), 8), ("deflate", zlib(&page()), 4), ("zstd", checked_frame(&page()), 4)]
    {
        for at in 1..=trailer {
            let mut encoded = encoded.clone();
            let byte = encoded.len() - at;
            encoded[byte] ^= 1;
            let got = decode(value, &encoded, 64, 1 << 20);
            assert_eq!(got, Err(DecodeError::Corrupt(value)), "{value}, {at} from the end");
        }
    }
}

#[test]
fn a_missing_checksum_is_no_loss() {
    // One body uses deflate's fixed codes, one its own, one none.
    let noise: Vec<u8> = (0..5000_u32).flat_map(|i| (i.wrapping_mul(2_654_435_761)).to_be_bytes()).collect();
    for plain in [b"small".to_vec(), page(), noise, Vec::new()] {
        for (value, encoded, trailer) in [
            ("gzip", gzip(&plain), 8),
            ("deflate", zlib(&plain), 4),
            ("zstd", checked_frame(&plain), 4),
            ("gzip", [gzip(&plain), gzip(b"")].concat(), 8),
            ("gzip, gzip", gzip(&gzip(&plain)), 8),
            ("br, gzip", gzip(&brotli(&plain)), 8),
        ] {
            for missing in 1..=trailer {
                for piece in [1, 7, usize::MAX] {
                    let got = decode(value, &encoded[..encoded.len() - missing], piece, 1 << 20);
                    assert!(got.as_ref() == Ok(&plain), "{value} without its last {missing} bytes: {got:?}");
                }
            }
            let cut = &encoded[..encoded.len() - trailer - 1];
            let got = decode(value, cut, 7, 1 << 20);
            assert!(matches!(got, Err(DecodeError::Truncated(_))), "{value} without its last data: {got:?}");
        }
    }
}

#[test]
fn data_cut_anywhere_is_truncated() {
    // Fixed codes end with zeros, so invented bytes would complete them.
    let plain = b"abcdefgh".repeat(3);
    for (value, encoded, trailer) in
        [("gzip", gzip(&plain), 8), ("deflate", zlib(&plain), 4), ("zstd", checked_frame(&plain), 4)]
    {
        for cut in 1..encoded.len() - trailer {
            let got = decode(value, &encoded[..cut], usize::MAX, 1 << 20);
            assert_eq!(got, Err(DecodeError::Truncated(value)), "{value} cut to {cut}");
        }
    }
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
fn an_unknown_coding_leaves_the_bytes_unchanged() {
    for value in [
        "utf-8",
        "UTF-8",
        "none",
        "aws-chunked",
        "compress",
        "gzip;q=1",
        "gzip, utf-8",
        "utf-8, br",
        "gzip gzip",
    ] {
        assert_eq!(parse(value), Ok(Vec::new()), "{value}");
    }
    for value in ["", "identity", ",", " , Identity ,"] {
        assert_eq!(parse(value), Ok(Vec::new()), "{value}");
    }
    assert_eq!(parse(" ,X-GZIP, identity,,BR"), Ok(vec![Coding::Gzip, Coding::Brotli]));
}

#[test]
fn too_many_codings_are_rejected() {
    assert_eq!(parse("gzip,gzip,gzip,gzip"), Err(DecodeError::Stacked(4)));
}
