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

/// The archive's records of a target that came to nothing.
fn metadata(input: &str, final_url: Option<&str>) -> String {
    let archivist = Archivist::new(WarcSpec { gzip: false, info: [1; 16] });
    let final_url = final_url.map(|url| Url::parse(url).unwrap());
    let about = About { id: 3, input, final_url: final_url.as_ref(), json: b"{\"id\":3}\n" };
    let mut out = Vec::new();
    archivist.write(about, &Recording::new(true), &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn a_target_without_a_response_has_its_metadata() {
    for (input, final_url, uri) in [
        ("http://u:p@a/b#c", None, Some("http://a/b")),
        ("http://a/", Some("http://b/c"), Some("http://b/c")),
        ("a b\r\nWARC-Type: response", None, None),
        ("ftp://a/", None, None),
        ("", None, None),
    ] {
        let text = metadata(input, final_url);
        assert_eq!(text.matches("WARC-Type: ").count(), 1, "{text}");
        assert!(
            text.contains("WARC-Type: metadata\r\n") && text.ends_with("\r\n\r\n{\"id\":3}\r\n\r\n"),
            "{text}"
        );
        let line = uri.map(|uri| format!("WARC-Target-URI: {uri}\r\n"));
        assert_eq!(text.contains("WARC-Target-URI"), line.is_some(), "{text}");
        assert!(line.is_none_or(|line| text.contains(&line)), "{text}");
    }
}
