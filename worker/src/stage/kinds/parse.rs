//! `parse`: a target is a path. Its file is read while it is parsed: a first match may be all that is needed of it.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::Duration;

use shared::black_box::Phase;
use shared::clock;
use shared::job::{JobSpec, ParseSpec};
use shared::protocol::Target;
use shared::record::ErrorKind;

use crate::shortage::Shortages;
use crate::stage::context::{Computed, Context, Waited};
use crate::stage::fetch::recording::Recording;
use crate::stage::files::{Files, Opened};
use crate::stage::findings::{Findings, Product};
use crate::stage::{Blocking, Compute, Interleaved};
use extract::{Extractor, Kind, Page};

/// Parses saved pages.
pub(crate) struct Parse {
    files: Files,
    extractor: Extractor,
    parse_timeout: Duration,
}

/// When a target's turn came. There is nothing to wait for.
#[derive(Debug)]
pub(crate) struct Started {
    us: u64,
}

impl Parse {
    pub(crate) fn new(spec: &ParseSpec, job: &JobSpec, shortages: Shortages) -> anyhow::Result<Self> {
        let extractor = Extractor::new(&job.fields, job.each.as_ref(), &job.presets)?;
        Ok(Self { files: Files::new(spec, shortages), extractor, parse_timeout: job.parse_timeout })
    }

    fn read(&self, target: &Target) -> Findings {
        let (mut body, bytes) = match self.files.open(&target.input) {
            Err(why) => {
                return Findings { product: Product::problem(ErrorKind::Parse, why), ..Findings::default() };
            }
            Ok(Opened::TooLarge(bytes)) => {
                let message = format!("{bytes} bytes, above the limit of {}", self.files.body_bytes_max());
                let product = Product::problem(ErrorKind::TooLarge, message);
                return Findings { bytes: Some(bytes), product, ..Findings::default() };
            }
            Ok(Opened::Page(body, bytes)) => (body, bytes),
        };
        let extension = Path::new(OsStr::from_bytes(&target.input)).extension();
        let page = Page {
            kind: Kind::of_extension(extension.and_then(OsStr::to_str)),
            content_type_charset: None,
            url: None,
            parse_timeout: self.parse_timeout,
        };
        let (charset, product) = match self.extractor.extract(page, &mut *body) {
            Ok(extracted) => (Some(extracted.charset), Product::Fields(extracted.values)),
            Err(error) => (None, Product::problem(error.kind(), error.to_string())),
        };
        Findings { bytes: Some(bytes), charset: charset.map(Cow::Borrowed), product, ..Findings::default() }
    }
}

impl Compute for Parse {
    type Answer = Started;

    fn compute(&self, context: &Context, target: &Target, started: Started, out: &mut Vec<u8>) -> Computed {
        let begun_us = context.enter(target, Phase::Extract);
        let findings = self.read(target);
        let recording = Recording::new(false);
        let waited =
            Waited { target, started_us: started.us, begun_us, is_url: false, recording: &recording };
        context.conclude(&waited, findings, out)
    }
}

impl Blocking for Parse {
    fn wait(&mut self, _: &Context, _: &Target) -> Started {
        Started { us: clock::monotonic_us() }
    }
}

impl Interleaved for Parse {
    async fn wait(&self, _: &Context, _: &Target) -> Started {
        Started { us: clock::monotonic_us() }
    }
}
