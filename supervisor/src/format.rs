//! Output formats, and their names: as `--format` takes them, and as file names end. Pure.

use std::fmt;
use std::path::Path;

/// How text is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// Into gzip members.
    Gzip,
    /// Into zstd frames.
    Zstd,
}

impl Packing {
    /// The packing that a file's name ends in.
    #[must_use]
    pub fn of(path: &Path) -> Option<Self> {
        let extension = path.extension()?;
        match () {
            () if extension.eq_ignore_ascii_case("gz") => Some(Self::Gzip),
            () if extension.eq_ignore_ascii_case("zst") => Some(Self::Zstd),
            () => None,
        }
    }

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }
}

/// How records are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A JSON object a line.
    JsonLines(Option<Packing>),
    /// Cells with commas between them, under a header.
    Csv(Option<Packing>),
    /// Cells with tabs between them, under a header.
    Tsv(Option<Packing>),
    /// Typed columns.
    Parquet,
    /// A table in a database.
    Sqlite,
    /// A web archive (WARC 1.1).
    Warc {
        /// Whether each of its records is compressed, as a gzip member of its own.
        gzip: bool,
    },
}

/// The values of `--format`.
pub const NAMES: &str =
    "jsonl, csv or tsv, each also with .gz or .zst behind it, parquet, sqlite, warc or warc.gz";

impl Format {
    /// Parses a name such as `csv.gz`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(name: &str) -> Result<Self, String> {
        // It means the same as at the end of a file's name.
        match Self::of(Path::new(&format!("out.{name}"))) {
            Ok(Some(format)) if !matches!(name, "gz" | "zst") => Ok(format),
            Ok(_) => Err(format!("give {NAMES}")),
            Err(why) => Err(why),
        }
    }

    /// The format that a file's name ends in, if it is one.
    ///
    /// # Errors
    /// When the format cannot be packed in this way.
    pub fn of(path: &Path) -> Result<Option<Self>, String> {
        let packing = Packing::of(path);
        let inner = if packing.is_some() { path.with_extension("") } else { path.to_owned() };
        let extension = inner.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        let extension = extension.to_ascii_lowercase();
        let is_packed_itself = |what: &str| match packing {
            None => Ok(()),
            Some(packing) => Err(format!("{what} is packed inside already; leave {} out", packing.name())),
        };
        Ok(Some(match extension.as_str() {
            "jsonl" | "ndjson" => Self::JsonLines(packing),
            "csv" => Self::Csv(packing),
            "tsv" | "tab" => Self::Tsv(packing),
            "parquet" | "pq" => is_packed_itself("Parquet").map(|()| Self::Parquet)?,
            "sqlite" | "sqlite3" | "db" => match packing {
                None => Self::Sqlite,
                Some(packing) => {
                    return Err(format!("a database cannot be written through {}", packing.name()));
                }
            },
            "warc" => match packing {
                None => Self::Warc { gzip: false },
                Some(Packing::Gzip) => Self::Warc { gzip: true },
                Some(Packing::Zstd) => {
                    return Err(
                        "a web archive is packed with gzip, so that every reader can read it".to_owned()
                    );
                }
            },
            // A packed file without another extension holds lines, as with inputs.
            _ if packing.is_some() => Self::JsonLines(packing),
            _ => return Ok(None),
        }))
    }

    /// The delimiter between two cells, if rows are text.
    #[must_use]
    pub const fn delimiter(self) -> Option<u8> {
        match self {
            Self::Csv(_) => Some(b','),
            Self::Tsv(_) => Some(b'\t'),
            Self::JsonLines(_) | Self::Parquet | Self::Sqlite | Self::Warc { .. } => None,
        }
    }

    /// How text is packed. A web archive is not text: it packs each record by itself.
    #[must_use]
    pub const fn packing(self) -> Option<Packing> {
        match self {
            Self::JsonLines(packing) | Self::Csv(packing) | Self::Tsv(packing) => packing,
            Self::Parquet | Self::Sqlite | Self::Warc { .. } => None,
        }
    }

    /// Whether a file must be written as a whole, because it cannot be appended to.
    #[must_use]
    pub const fn is_whole(self) -> bool {
        matches!(self, Self::Parquet | Self::Sqlite)
    }

    /// Whether records are lines, so that each ends with its newline.
    #[must_use]
    pub const fn has_lines(self) -> bool {
        matches!(self, Self::JsonLines(None))
    }

    /// The extension of a file's name.
    #[must_use]
    pub const fn extension(self) -> &'static str {
        match self {
            Self::JsonLines(None) => "jsonl",
            Self::JsonLines(Some(Packing::Gzip)) => "jsonl.gz",
            Self::JsonLines(Some(Packing::Zstd)) => "jsonl.zst",
            Self::Csv(None) => "csv",
            Self::Csv(Some(Packing::Gzip)) => "csv.gz",
            Self::Csv(Some(Packing::Zstd)) => "csv.zst",
            Self::Tsv(None) => "tsv",
            Self::Tsv(Some(Packing::Gzip)) => "tsv.gz",
            Self::Tsv(Some(Packing::Zstd)) => "tsv.zst",
            Self::Parquet => "parquet",
            Self::Sqlite => "sqlite",
            Self::Warc { gzip: false } => "warc",
            Self::Warc { gzip: true } => "warc.gz",
        }
    }
}

impl Default for Format {
    fn default() -> Self {
        Self::JsonLines(None)
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.extension())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_says_what_it_is() {
        use Packing::{Gzip, Zstd};
        for (name, want) in [
            ("a", None),
            ("a.txt", None),
            ("a.json", None),
            ("a.jsonl", Some(Format::JsonLines(None))),
            ("a.NDJSON.GZ", Some(Format::JsonLines(Some(Gzip)))),
            ("a.zst", Some(Format::JsonLines(Some(Zstd)))),
            ("a.b.csv", Some(Format::Csv(None))),
            ("a.tsv.zst", Some(Format::Tsv(Some(Zstd)))),
            ("dir.csv/a.parquet", Some(Format::Parquet)),
            ("a.db", Some(Format::Sqlite)),
            ("a.warc.gz", Some(Format::Warc { gzip: true })),
        ] {
            assert_eq!(Format::of(Path::new(name)), Ok(want), "{name}");
        }
        for name in ["a.parquet.gz", "a.db.zst", "a.warc.zst"] {
            assert!(Format::of(Path::new(name)).is_err(), "{name}");
        }
    }

    #[test]
    fn every_format_is_called_what_its_files_are() {
        let packings = [None, Some(Packing::Gzip), Some(Packing::Zstd)];
        let text = packings.into_iter().flat_map(|p| [Format::JsonLines(p), Format::Csv(p), Format::Tsv(p)]);
        let others =
            [Format::Parquet, Format::Sqlite, Format::Warc { gzip: false }, Format::Warc { gzip: true }];
        for format in text.chain(others) {
            assert_eq!(Format::parse(&format.to_string()), Ok(format));
            assert_eq!(Format::of(Path::new(&format!("x.{format}"))), Ok(Some(format)));
        }
        for name in ["", "gz", "json", "xlsx", "parquet.gz", "csv.bz2", "x/csv "] {
            assert!(Format::parse(name).is_err(), "{name}");
        }
    }
}
