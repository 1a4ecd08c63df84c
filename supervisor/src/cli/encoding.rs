//! `--encoding`: a label of the Encoding Standard. Hyphens and underscores are ignored, so the spellings of
//! iconv and Python are accepted too: `latin-1`, `utf_8`, `cp-1252`.

use encoding_rs::Encoding;

use super::problem::Problem;
use crate::nearest::nearest;

/// Encodings to suggest for an unknown name.
const ENCODINGS: [&str; 12] = [
    "utf-8",
    "utf-16le",
    "utf-16be",
    "windows-1252",
    "iso-8859-1",
    "iso-8859-15",
    "windows-1251",
    "koi8-r",
    "shift_jis",
    "euc-jp",
    "gb18030",
    "big5",
];

/// Labels with hyphens or underscores for which the standard has no plain form.
const HYPHENATED: &str = "utf-16 utf-16le utf-16be us-ascii iso-8859-8-i koi8-r koi8-u shift_jis ms_kanji euc-jp \
                          iso-2022-jp windows-31j euc-kr ks_c_5601-1987 windows-949 big5-hkscs tis-620 \
                          x-mac-cyrillic windows-874 windows-1250 windows-1251 windows-1252 windows-1253 \
                          windows-1254 windows-1255 windows-1256 windows-1257 windows-1258";

/// Finds an encoding by its name.
pub(super) fn encoding(name: &str) -> Result<&'static Encoding, Problem> {
    let known = |label: &str| Encoding::for_label_no_replacement(label.as_bytes());
    let bare = |name: &str| name.trim_ascii().replace(['-', '_'], "").to_ascii_lowercase();
    let hyphenated = || HYPHENATED.split(' ').find(|label| bare(label) == bare(name));
    known(name).or_else(|| known(&bare(name))).or_else(|| known(hyphenated()?)).ok_or_else(|| {
        let hint = match nearest(name, ENCODINGS) {
            Some(near) => format!("did you mean {near}?"),
            None => format!("some valid names: {}", ENCODINGS.join(", ")),
        };
        Problem::Usage(format!("--encoding {name}: unknown encoding; {hint}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings_are_known_by_the_names_that_other_tools_have_for_them() {
        for (names, want) in [
            ("utf-8 UTF8 utf_8 Utf-8", "UTF-8"),
            ("utf-16 utf16 UTF_16 utf-16-le utf_16_le UTF16LE", "UTF-16LE"),
            ("utf-16be utf_16_be UTF16BE", "UTF-16BE"),
            ("latin1 latin-1 latin_1 LATIN-1 iso-8859-1 iso8859_1 ISO_8859-1", "windows-1252"),
            (
                "cp1252 cp-1252 CP_1252 windows-1252 windows1252 windows_1252 ascii us_ascii usascii",
                "windows-1252",
            ),
            ("iso8859_15 iso-8859-15 ISO_8859_15", "ISO-8859-15"),
            ("koi8-r koi8_r koi8r", "KOI8-R"),
            ("shift_jis shift-jis shiftjis sjis", "Shift_JIS"),
            ("euc-jp euc_jp eucjp", "EUC-JP"),
            ("big5 big-5 big5hkscs", "Big5"),
            ("gb18030 gb-18030", "gb18030"),
            ("ibm866 cp-866 IBM_866", "IBM866"),
        ] {
            for name in names.split(' ') {
                let found = encoding(name).map(Encoding::name);
                assert!(matches!(found, Ok(found) if found == want), "{name}");
            }
        }
        for name in ["", "-", "latin", "utf-9", "utf-7", "replacement", "iso-2022-kr"] {
            let Err(Problem::Usage(message)) = encoding(name) else { panic!("{name}") };
            assert!(message.starts_with(&format!("--encoding {name}: unknown encoding")), "{message}");
        }
        // Every listed label must be one of the standard's.
        assert!(HYPHENATED.split(' ').all(|label| Encoding::for_label(label.as_bytes()).is_some()));
    }
}
