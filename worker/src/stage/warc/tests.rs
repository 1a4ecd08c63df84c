use shared::job::WarcSpec;

use super::*;

#[test]
fn what_came_compressed_is_not_compressed_again() {
    for (name, value, dense) in [
        ("content-type", "text/html", false),
        ("content-type", "Image/PNG", true),
        ("content-type", "image/svg+xml", false),
        ("content-type", "video/mp4; codecs=x", true),
        ("content-encoding", "br", true),
        ("content-encoding", "Identity", false),
    ] {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().unwrap());
        assert_eq!(is_dense(&headers), dense, "{name}: {value}");
    }
    assert!(!is_dense(&HeaderMap::new()));
}

#[test]
fn without_a_response_there_is_no_exchange() {
    let mut out = Vec::new();
    let mut writer = Writer::new(WarcSpec { gzip: false, info: [1; 16] });
    let exchange = write_exchanges(&mut writer, 3, &Recording::new(true), &mut out);
    assert!(out.is_empty() && exchange.response.is_none());
}
