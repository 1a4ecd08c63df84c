use std::io::Write as _;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

use super::*;
use crate::stage::mutation::mutated;

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
    let codings = parse(value)?;
    if codings.is_empty() {
        return Ok(encoded.to_vec());
    }
    let mut decoder = Decoder::new(&codings)?;
    let mut body = Vec::new();
    for mut piece in encoded.chunks(piece) {
        while decoder.push(&mut piece, &mut body, bytes_max)? == Progress::More {}
        assert!(piece.is_empty() && body.len() as u64 <= bytes_max);
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
fn an_uncompressed_frame_cut_anywhere_is_truncated() {
    // A last block of 256 bytes, without a checksum. Zeros would complete its header to an empty block.
    let encoded = [&b"\x28\xb5\x2f\xfd\0\0\x01\x08\0"[..], &[b'x'; 256]].concat();
    assert_eq!(decode("zstd", &encoded, usize::MAX, 1 << 20), Ok(vec![b'x'; 256]));
    for cut in 1..encoded.len() {
        for piece in [1, usize::MAX] {
            let got = decode("zstd", &encoded[..cut], piece, 1 << 20);
            assert_eq!(got, Err(DecodeError::Truncated("zstd")), "cut to {cut}");
        }
    }
}

#[test]
fn a_frame_of_another_size_than_it_says_is_corrupt_in_pieces_of_any_size() {
    // Three bytes, it says. It has an empty block, and the checksum of nothing.
    let frame = b"\x28\xb5\x2f\xfd\x24\x03\x01\0\0\x99\xe9\xd8\x51";
    for piece in [1, 3, usize::MAX] {
        assert_eq!(decode("zstd", frame, piece, 1 << 20), Err(DecodeError::Corrupt("zstd")));
        let got = decode("zstd", &frame[..9], piece, 1 << 20);
        assert_eq!(got, Err(DecodeError::Truncated("zstd")), "without its checksum");
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

/// Deflate blocks without data, in a gzip stream that never ends.
fn empty_blocks(bytes: usize) -> Vec<u8> {
    let mut stream = gzip(b"")[..10].to_vec();
    stream.extend(b"\0\0\0\xff\xff".iter().cycle().take(bytes));
    stream
}

/// Compressed data that comes to nothing, with its codings.
pub(crate) fn hollow(bytes: usize) -> Vec<(&'static str, Vec<u8>)> {
    let skippable = b"\x50\x2a\x4d\x18\x08\0\0\0nonsense";
    // The first byte also says how large the window is.
    let metadata = [&b"\x0c"[..], &vec![6; bytes]].concat();
    let name = [&b"\x1f\x8b\x08\x08\0\0\0\0\0\xff"[..], &vec![b'n'; bytes]].concat();
    let blocks = empty_blocks(bytes);
    vec![
        ("gzip, gzip, br", brotli(&gzip(&blocks))),
        ("gzip, zstd", zstandard(&gzip(b"").repeat(bytes / 20))),
        ("deflate, br", brotli(&blocks[10..])),
        ("zstd, gzip", gzip(&skippable.repeat(bytes / 16))),
        ("zstd, gzip", gzip(&zstandard(b"").repeat(bytes / 9))),
        ("br, gzip", gzip(&metadata)),
        ("gzip, br", brotli(&name)),
        ("gzip", blocks),
        ("br", metadata),
    ]
}

#[test]
fn data_that_comes_to_nothing_is_refused() {
    for (value, encoded) in hollow(2 << 20) {
        for piece in [1000, usize::MAX] {
            let got = decode(value, &encoded, piece, 16 << 20);
            assert!(matches!(got, Err(DecodeError::Hollow(_))), "{value}: {got:?}");
        }
    }
    // An encoder that is flushed after every byte, and one that is flushed now and then without any.
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    for byte in page() {
        encoder.write_all(&[byte]).unwrap();
        encoder.flush().unwrap();
    }
    assert!(decode("gzip", &encoder.finish().unwrap(), 100, 1 << 20).is_ok_and(|body| body == page()));
    assert_eq!(decode("gzip", &empty_blocks(100_000), 100, 1 << 20), Err(DecodeError::Truncated("gzip")));
}

#[test]
fn the_layers_between_count_as_well() {
    // A megabyte of zeros lies between the layers, and then is no gzip; what precedes it is a good member.
    let between = [gzip(b"page"), vec![0; 1 << 20]].concat();
    let encoded = gzip(&between);
    assert_eq!(decode("gzip, gzip", &encoded, 1000, 1 << 20), Ok(b"page".to_vec()));
    assert_eq!(decode("gzip, gzip", &encoded, 1000, 1_000_000), Err(DecodeError::TooLarge));
}

#[test]
fn the_caller_has_its_turn_after_bounded_work() {
    let zeros = vec![0; 8 << 20];
    for (value, encoded) in [("gzip", gzip(&zeros)), ("gzip, br", brotli(&gzip(&zeros)))] {
        let mut decoder = Decoder::new(&parse(value).unwrap()).unwrap();
        let (mut body, mut rest, mut turns) = (Vec::new(), encoded.as_slice(), 0);
        loop {
            let before = body.len();
            let progress = decoder.push(&mut rest, &mut body, 8 << 20).unwrap();
            assert!(body.len() - before <= TURN_BYTES_OUT + 32 * 1024);
            turns += 1;
            if progress == Progress::Done {
                break;
            }
        }
        assert_eq!((body.len(), rest.len()), (8 << 20, 0));
        assert!(turns >= 32, "{value}: {turns}");
    }
}

#[test]
fn data_that_is_slow_to_decode_is_refused() {
    let mut decoder = Decoder::new(&[Coding::Gzip]).unwrap();
    decoder.turn.is_later = true;
    decoder.spent = CPU_FREE + Duration::from_millis(1);
    let mut body = vec![0; 1000];
    assert_eq!(decoder.push(&mut &gzip(b"x")[..], &mut body, 1 << 20), Err(DecodeError::Slow));
    body.resize(1 << 20, 0);
    assert_eq!(
        decoder.push(&mut &b""[..], &mut body, 1 << 20),
        Ok(Progress::Done),
        "a large body may take longer"
    );
}

#[test]
fn fuzz_decoders_whole_and_in_pieces() {
    let all = [Coding::Gzip, Coding::Deflate, Coding::Brotli, Coding::Zstd];
    let mut seeds: Vec<Vec<u8>> = hollow(3000).into_iter().map(|(_, encoded)| encoded).collect();
    for plain in [&page()[..2000], b"", b"small"] {
        seeds.extend([gzip(plain), zlib(plain), raw_deflate(plain), brotli(plain), zstandard(plain)]);
        seeds.extend([checked_frame(plain), brotli(&gzip(plain)), gzip(&zlib(&zstandard(plain)))]);
    }
    mutated(&seeds, |input, random| {
        let layers = 1 + random.below(STACKED_MAX);
        let stack: Vec<_> = (0..layers).map(|_| all[random.below(all.len())]).collect();
        let piece = 1 + random.below(300);
        let outcome = |piece| {
            let mut decoder = Decoder::new(&stack).unwrap();
            let mut body = Vec::new();
            for mut piece in input.chunks(piece) {
                loop {
                    let begun = clock::thread_cpu();
                    let progress = decoder.push(&mut piece, &mut body, 1 << 20)?;
                    let took = clock::thread_cpu() - begun;
                    assert!(took < Duration::from_secs(2), "one turn took {took:?}");
                    assert!(body.len() <= 1 << 20);
                    if progress == Progress::Done {
                        break;
                    }
                }
            }
            decoder.finish().map(|()| body)
        };
        match (outcome(usize::MAX), outcome(piece)) {
            // Which limit is met first depends on the size of the pieces.
            (Err(DecodeError::Hollow(_) | DecodeError::Slow | DecodeError::TooLarge), _)
            | (_, Err(DecodeError::Hollow(_) | DecodeError::Slow | DecodeError::TooLarge)) => {}
            // Which layer is found to be broken first does, too.
            (Err(_), Err(_)) => {}
            (whole, pieces) => assert_eq!(whole, pieces, "{stack:?} in pieces of {piece}"),
        }
    });
}

#[test]
fn a_zstd_window_over_the_standards_limit_is_refused() {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(27).unwrap();
    encoder.write_all(&vec![7; 1 << 24]).unwrap();
    let encoded = encoder.finish().unwrap();
    assert_eq!(decode("zstd", &encoded, 4096, 1 << 25), Err(DecodeError::Corrupt("zstd")));
}

/// libzstd accepts some frames only if they arrive as a whole.
#[test]
fn a_zstd_frame_means_the_same_however_it_arrives() {
    let frame = |rest: &[u8]| [b"\x28\xb5\x2f\xfd", rest].concat();
    let refused = || Err(DecodeError::Corrupt("zstd"));
    for (what, encoded, want) in [
        ("a good one", frame(b"\x20\x05\x29\0\0hello"), Ok(b"hello".to_vec())),
        ("a repeated byte in a frame without room", frame(b"\x20\0\x03\0\0\x20"), refused()),
        ("a window of 16 MiB", frame(b"\x80\x70\0\0\0\0\x01\0\0"), refused()),
        ("a window of 8 MiB", frame(b"\x80\x68\0\0\0\0\x01\0\0"), Ok(Vec::new())),
    ] {
        for piece in [1, 3, 5, 9, 4096] {
            assert_eq!(decode("zstd", &encoded, piece, 1 << 20), want, "{what} in pieces of {piece}");
        }
    }
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
