//! What a job is, as far as its records can tell. Pure.
//!
//! A run resumed with another selector would leave half of the output with
//! other fields, so whatever decides what a record says must be the same.
//! Workers, mode, concurrency and pace may change: they decide only when. So may
//! timeouts and retries: whoever stops a run because they were wrong wants to go on with others.

use serde::{Deserialize, Serialize};
use shared::job::{FetchSpec, MapSpec, ParseSpec, Work};
use xxhash_rust::xxh3::xxh3_128;

use crate::format::Format;
use crate::plan::{ListReading, Plan};
use crate::sink::whole::Cut;

/// Where a flag would stand, for `fetch` and `parse` themselves.
const COMMAND: &str = "the command";

/// One flag, with its value in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fact {
    /// What the user types.
    pub flag: String,
    /// What it amounts to; never a secret.
    pub value: String,
}

fn fact(flag: &str, value: impl ToString) -> Fact {
    Fact { flag: flag.to_owned(), value: value.to_string() }
}

/// Everything that decides what a record of `plan` says, its inputs aside.
#[must_use]
pub(super) fn facts(plan: &Plan) -> Vec<Fact> {
    let mut facts = facts_of_work(plan);
    // Files that are built in the end may be built in another format by the run that builds them, from the same
    // records. Lines are left out, so that the journals of earlier versions still fit, which kept nothing else.
    let kept = Cut::of(plan.format);
    if plan.is_derived() && kept != Cut::Lines {
        let cells =
            plan.format.delimiter().map_or_else(String::new, |with| format!(" with {:?}", char::from(with)));
        facts.push(fact("the form of the kept records", format!("{}{cells}", kept.name())));
    } else if !plan.is_derived() && plan.format != Format::default() {
        facts.push(fact("--format", plan.format));
    }
    facts
}

fn facts_of_work(plan: &Plan) -> Vec<Fact> {
    let mut facts = match &plan.work {
        // Every field named: a new one must not be forgotten here.
        Work::Fetch(FetchSpec {
            timeout: _,
            connect_timeout: _,
            body_bytes_max,
            redirects_max,
            headers,
            user_agent,
            // Decides who is asked, like a timeout whether in time: a denied host may be allowed as one goes on.
            address_policy: _,
        }) => vec![
            fact(COMMAND, "fetch"),
            fact("--body-bytes-max", body_bytes_max),
            fact("--redirects-max", redirects_max),
            fact("--header", headers_in_words(headers)),
            fact("--user-agent", agent_in_words(user_agent)),
        ],
        // A part of a fetch, and never what a plan is for.
        Work::Sitemap(_) => Vec::new(),
        Work::Parse(ParseSpec { body_bytes_max, held: _ }) => {
            vec![fact(COMMAND, "parse"), fact("--body-bytes-max", body_bytes_max)]
        }
        Work::Map(spec) => {
            return vec![
                fact(COMMAND, "map"),
                fact("the program", command_in_words(spec)),
                fact("--raw", spec.raw),
                fact("--ordered", plan.ordered),
            ];
        }
        // Written as a whole at the end, and never resumed.
        Work::Csv(_) => vec![fact(COMMAND, "csv")],
    };
    if let Some(then) = &plan.then {
        facts.push(fact("--map", command_in_words(then)));
    }
    let fields: Vec<String> = plan.fields.iter().map(|field| format!("'{field}'")).collect();
    facts.push(fact("--select", if fields.is_empty() { "nothing".to_owned() } else { fields.join(" ") }));
    // Left out where there is none, so that the journals of earlier versions still fit.
    if let Some(each) = &plan.each {
        facts.push(fact("--each", format!("'{each}'")));
    }
    if !plan.presets.is_empty() {
        let names: Vec<&str> = plan.presets.iter().map(|preset| preset.name()).collect();
        facts.push(fact("--preset", names.join(" ")));
    }
    let ListReading { encoding, delimiter } = plan.lists;
    facts.extend(encoding.map(|encoding| fact("--encoding", encoding.name())));
    facts.extend(delimiter.map(|delimiter| fact("--delimiter", format!("{:?}", char::from(delimiter)))));
    facts.push(fact("--ordered", plan.ordered));
    facts
}

/// Ours carries a version, and a newer one may finish what an older one began.
fn agent_in_words(agent: &str) -> &str {
    if agent.starts_with("muster/") { "the default" } else { agent }
}

/// What of a program decides what it answers. How many lines it is given at once does not.
fn command_in_words(spec: &MapSpec) -> String {
    let words: Vec<_> = spec.command.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    shlex::try_join(words.iter().map(String::as_str)).unwrap_or_else(|_| words.join(" "))
}

/// Headers carry passwords and cookies, which have no business in a file beside the output.
fn headers_in_words(headers: &[(String, String)]) -> String {
    if headers.is_empty() {
        return "nothing".to_owned();
    }
    let names: Vec<&str> = headers.iter().map(|(name, _)| name.as_str()).collect();
    let digest = xxh3_128(format!("{headers:?}").as_bytes());
    format!("{} (hash {:08x})", names.join(", "), digest >> 96)
}

/// What differs between the job as it was and as it is, one sentence each.
#[must_use]
pub(super) fn changes(was: &[Fact], is: &[Fact]) -> Vec<String> {
    let mut changes = Vec::new();
    for now in is {
        match was.iter().find(|then| then.flag == now.flag) {
            Some(then) if then.value == now.value => {}
            // Another command has other flags; naming them all would bury that.
            Some(then) if now.flag == COMMAND => {
                return vec![format!("the command was {}, and is {}", then.value, now.value)];
            }
            Some(then) => changes.push(format!("{} was {}, and is {}", now.flag, then.value, now.value)),
            None => changes.push(format!("{} was not there, and is {}", now.flag, now.value)),
        }
    }
    for then in was {
        if !is.iter().any(|now| now.flag == then.flag) {
            changes.push(format!("{} was {}, and is not there", then.flag, then.value));
        }
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::super::tests::plan;
    use super::*;
    use crate::format::Packing;
    use shared::select::{Each, Field, Preset};
    use std::time::Duration;
    use supervisor_core::frontier::PerHost;

    fn fetch(plan: &mut Plan) -> &mut FetchSpec {
        match &mut plan.work {
            Work::Fetch(fetch) => fetch,
            Work::Parse(_) | Work::Csv(_) | Work::Sitemap(_) | Work::Map(_) => {
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
                plan.lists = ListReading { encoding: Some(encoding_rs::WINDOWS_1252), delimiter: Some(b';') }
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
