//! The dashboard's files. They are part of the program, so that it needs no build step, no
//! directory beside it and no other server.
//!
//! They are served unchanged. Their content security policy allows only what comes from this
//! service; the HTML contains no scripts or styles.

/// A file of the dashboard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::api) struct Asset {
    /// The path at which it is served.
    pub(in crate::api) path: &'static str,
    /// Its `Content-Type`.
    pub(in crate::api) content_type: &'static str,
    /// Its contents.
    pub(in crate::api) bytes: &'static [u8],
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";
const PLAIN: &str = "text/plain; charset=utf-8";

macro_rules! assets {
    ($($path:literal $content_type:ident $file:literal)*) => {
        &[$(Asset { path: $path, content_type: $content_type, bytes: include_bytes!($file) }),*]
    };
}

/// All files.
pub(in crate::api) const ASSETS: &[Asset] = assets![
    "/" HTML "index.html"
    "/assets/style.css" CSS "style.css"
    "/assets/icon.svg" SVG "icon.svg"
    "/assets/actions.mjs" SCRIPT "actions.mjs"
    "/assets/api.mjs" SCRIPT "api.mjs"
    "/assets/app.mjs" SCRIPT "app.mjs"
    "/assets/charts.mjs" SCRIPT "charts.mjs"
    "/assets/dialogs.mjs" SCRIPT "dialogs.mjs"
    "/assets/dom.mjs" SCRIPT "dom.mjs"
    "/assets/format.mjs" SCRIPT "format.mjs"
    "/assets/history.mjs" SCRIPT "history.mjs"
    "/assets/hosts.mjs" SCRIPT "hosts.mjs"
    "/assets/job-details.mjs" SCRIPT "job-details.mjs"
    "/assets/job-list.mjs" SCRIPT "job-list.mjs"
    "/assets/lanes.mjs" SCRIPT "lanes.mjs"
    "/assets/log.mjs" SCRIPT "log.mjs"
    "/assets/palette.mjs" SCRIPT "palette.mjs"
    "/assets/records.mjs" SCRIPT "records.mjs"
    "/assets/scale.mjs" SCRIPT "scale.mjs"
    "/assets/service-line.mjs" SCRIPT "service-line.mjs"
    "/assets/state.mjs" SCRIPT "state.mjs"
    "/assets/stream.mjs" SCRIPT "stream.mjs"
    "/assets/submit.mjs" SCRIPT "submit.mjs"
    "/assets/uplot.js" SCRIPT "uplot/uplot.js"
    "/assets/uplot.css" CSS "uplot/uplot.css"
    "/assets/uplot.LICENSE" PLAIN "uplot/LICENSE"
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use super::*;

    fn find(path: &str) -> Option<&'static Asset> {
        ASSETS.iter().find(|asset| asset.path == path)
    }

    fn text(asset: Asset) -> &'static str {
        std::str::from_utf8(asset.bytes).unwrap()
    }

    #[test]
    fn every_file_of_the_directory_is_served() {
        let mut files = 0;
        let mut directories = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src/api/page")];
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    directories.push(path);
                    continue;
                }
                if path.extension().is_some_and(|extension| extension == "rs") {
                    continue;
                }
                let bytes = fs::read(&path).unwrap();
                files += 1;
                assert!(ASSETS.iter().any(|asset| asset.bytes == bytes), "{} is not served", path.display());
            }
        }
        let paths: BTreeSet<_> = ASSETS.iter().map(|asset| asset.path).collect();
        assert_eq!((files, paths.len()), (ASSETS.len(), ASSETS.len()));
    }

    #[test]
    fn every_file_that_a_file_names_is_served() {
        for asset in
            ASSETS.iter().filter(|asset| asset.content_type != PLAIN && !asset.path.contains("uplot"))
        {
            let quoted =
                text(*asset).split('"').filter(|part| part.starts_with("./") || part.starts_with("/assets/"));
            for named in quoted {
                let path = named.replacen("./", "/assets/", 1);
                assert!(find(&path).is_some(), "{} names {named}", asset.path);
            }
        }
    }

    #[test]
    fn the_policy_holds_for_the_html() {
        let html = text(*find("/").unwrap());
        for forbidden in ["<style", " style=", " onclick=", "javascript:", "http://", "https://cdn"] {
            assert!(!html.contains(forbidden), "{forbidden}");
        }
        assert_eq!(html.matches("<script").count(), html.matches("<script src=").count());
    }
}
