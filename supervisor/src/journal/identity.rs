//! Whether a job is the one that an earlier run began, as far as its records can tell. Pure.

use crate::format::Format;
use crate::kinds::{self, COMMAND};
use crate::plan::Plan;
use crate::sink::whole::Cut;

pub(super) use crate::kinds::Fact;

/// Returns everything that decides the contents of a record of `plan`, apart from the inputs.
#[must_use]
pub(super) fn facts(plan: &Plan) -> Vec<Fact> {
    let mut facts = kinds::of(&plan.work).facts(plan);
    // Files that are built in the end may be built in another format by the run that builds them, from the same
    // records. Lines are left out, so that the journals of earlier versions still fit, which kept nothing else.
    let kept = Cut::of(plan.format);
    if plan.is_derived() && kept != Cut::Lines {
        let cells =
            plan.format.delimiter().map_or_else(String::new, |with| format!(" with {:?}", char::from(with)));
        facts.push(Fact::new("the form of the kept records", format!("{}{cells}", kept.name())));
    } else if !plan.is_derived() && plan.format != Format::default() {
        facts.push(Fact::new("--format", plan.format));
    }
    facts
}

/// Returns what differs between the job as it was and as it is, one sentence each.
#[must_use]
pub(crate) fn changes(was: &[Fact], is: &[Fact]) -> Vec<String> {
    let mut changes = Vec::new();
    let mut flags: Vec<&str> = Vec::new();
    for Fact { flag, .. } in is.iter().chain(was) {
        if flags.contains(&flag.as_str()) {
            continue;
        }
        flags.push(flag);
        match (values(was, flag), values(is, flag)) {
            (then, now) if then == now => {}
            // Another command has other flags; naming them all would bury that.
            (Some(then), Some(now)) if flag == COMMAND => {
                return vec![format!("the command was {then}, and is {now}")];
            }
            (then, now) => {
                let said = |value: Option<String>| value.unwrap_or_else(|| "not there".to_owned());
                changes.push(format!("{flag} was {}, and is {}", said(then), said(now)));
            }
        }
    }
    changes
}

/// The values of a flag, if it is there.
fn values(facts: &[Fact], flag: &str) -> Option<String> {
    let values: Vec<&str> =
        facts.iter().filter(|fact| fact.flag == flag).map(|fact| fact.value.as_str()).collect();
    (!values.is_empty()).then(|| values.join(", "))
}

#[cfg(test)]
mod tests {
    use super::super::tests::plan;
    use super::*;
    use crate::format::Packing;
    use crate::plan::ListReading;
    use shared::job::{FetchSpec, ParseSpec, Work};
    use shared::request::RequestSpec;
    use shared::select::{Each, Field, Preset};
    use shared::template::{Form, Template};
    use std::time::Duration;
    use supervisor_core::frontier::PerHost;

    fn fetch(plan: &mut Plan) -> &mut FetchSpec {
        match &mut plan.work {
            Work::Fetch(fetch) => fetch,
            Work::Crawl(_) | Work::Parse(_) | Work::Csv(_) | Work::Sitemap(_) | Work::Map(_) => {
                panic!("the test's plan fetches")
            }
        }
    }

    fn check(change: impl Fn(&mut Plan), want: &[&str]) {
        let was = plan(&[]);
        let mut is = was.clone();
        change(&mut is);
        assert_eq!(changes(&facts(&was), &facts(&is)), want);
    }

    #[test]
    fn what_decides_a_record_is_told_from_what_decides_its_time() {
        check(|_| {}, &[]);
        check(
            |plan| {
                plan.pool.workers = None;
                plan.pool.concurrency = std::num::NonZeroU32::new(7);
                plan.politeness.per_host = PerHost::Unlimited;
                plan.politeness.rate_per_s = Some(2.0);
                plan.politeness.retries = 0;
                fetch(plan).timeout = Duration::from_secs(5);
                plan.progress = crate::plan::When::Always;
            },
            &[],
        );
        check(|plan| fetch(plan).redirects_max = 0, &["--redirects-max was 10, and is 0"]);
        check(|plan| fetch(plan).user_agent = "other".to_owned(), &["--user-agent was test, and is other"]);
        check(
            |plan| fetch(plan).user_agent = "muster/9.9.9".to_owned(),
            &["--user-agent was test, and is the default"],
        );
        check(
            |plan| {
                plan.lists = ListReading {
                    encoding: Some(encoding_rs::WINDOWS_1252),
                    delimiter: Some(b';'),
                    ..ListReading::default()
                }
            },
            &["--encoding was not there, and is windows-1252", "--delimiter was not there, and is ';'"],
        );
        check(|plan| plan.ordered = true, &["--ordered was false, and is true"]);
        check(
            |plan| plan.fields = Field::parse_all(&["links[]=a::attr(href)".to_owned()]).unwrap(),
            &["--select was 'title=title::text', and is 'links[]=a::attr(href)'"],
        );
        check(
            |plan| plan.fields = Field::parse_all(&["title=title|re(x)"]).unwrap(),
            &["--select was 'title=title::text', and is 'title=title::text | re(x)'"],
        );
        check(
            |plan| {
                plan.each = Some(Each::parse("div").unwrap());
                plan.presets = vec![Preset::JsonLd, Preset::Meta];
            },
            &["--each was not there, and is 'div'", "--preset was not there, and is jsonld meta"],
        );
        check(
            |plan| plan.work = Work::Parse(ParseSpec { body_bytes_max: 16 << 20, held: Vec::new() }),
            &["the command was fetch, and is parse"],
        );
    }

    /// Files are built from kept records, in whichever format is asked for when they are built.
    #[test]
    fn kept_records_serve_formats_of_their_form_only() {
        let split = |format: Format| {
            let mut plan = plan(&[]);
            (plan.format, plan.split) = (format, std::num::NonZeroU64::new(10));
            facts(&plan)
        };
        let zstd = Some(Packing::Zstd);
        for (one, other) in [
            (Format::Parquet, Format::Sqlite),
            (Format::Csv(None), Format::Csv(zstd)),
            (Format::JsonLines(None), Format::JsonLines(zstd)),
        ] {
            assert_eq!(changes(&split(one), &split(other)), [""; 0]);
        }
        let form = "the form of the kept records";
        for (one, other, want) in [
            // What earlier versions kept were lines, whatever the format.
            (Format::JsonLines(None), Format::Parquet, "was not there, and is typed rows"),
            (Format::Sqlite, Format::Csv(None), "was typed rows, and is rows with ','"),
            (Format::Csv(None), Format::Tsv(None), "was rows with ',', and is rows with '\\t'"),
            (Format::Tsv(None), Format::JsonLines(None), "was rows with '\\t', and is not there"),
        ] {
            assert_eq!(changes(&split(one), &split(other)), [format!("{form} {want}")]);
        }
    }

    #[test]
    fn headers_with_columns_are_compared_with_each_other() {
        let with = |headers: &[(&str, &str)]| {
            let mut plan = plan(&[]);
            let named = |(name, text): &(&str, &str)| {
                ((*name).to_owned(), Template::parse(text.as_bytes(), Form::Word))
            };
            let headers = headers.iter().map(named).collect();
            fetch(&mut plan).request = Some(Box::new(RequestSpec { headers, ..RequestSpec::default() }));
            facts(&plan)
        };
        let (one, two) = (with(&[("X", "{a}"), ("Y", "{b}")]), with(&[("X", "{a}"), ("Y", "{c}")]));
        assert_eq!(changes(&one, &one), [""; 0]);
        let changes = changes(&one, &two);
        assert_eq!(changes.len(), 1, "{changes:?}");
        assert!(changes[0].starts_with("--header was nothing, X (hash "), "{changes:?}");
    }

    #[test]
    fn a_header_is_compared_and_not_kept() {
        let mut one = plan(&[]);
        fetch(&mut one).headers = vec![("Cookie".to_owned(), "secret=1".to_owned())];
        let mut two = one.clone();
        fetch(&mut two).headers[0].1 = "secret=2".to_owned();
        let (one, two) = (facts(&one), facts(&two));
        assert!(!format!("{one:?}").contains("secret"));
        let changes = changes(&one, &two);
        assert_eq!(changes.len(), 1, "{changes:?}");
        assert!(changes[0].starts_with("--header was Cookie (hash "), "{changes:?}");
    }
}
