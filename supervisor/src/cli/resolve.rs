//! From flags to a [`Plan`]: what they mean together, and whether they make sense.

use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::time::Duration;

use shared::address::AddressPolicy;
use shared::job::{FetchSpec, MapSpec, ParseSpec, SandboxLevel, Work};
use shared::select::{Field, Preset};

use super::disk::Place;
use super::flags::{
    AddressPolicyFlag, CompareVerb, CsvFlags, ExtractFlags, FetchJob, Flags, ListFlags, NetworkFlags,
    OutputFlags, ParseJob, PoolFlags, ShownFlags, UrlFlags, Verb,
};
use super::inputs::{Again, Targets, hold, input_paths, inputs, reading};
use super::parts::{check_side_files, place, politeness, pool_plan, sandbox, when};
use super::problem::Problem;
use super::{Request, Surroundings, csv, disk, program, serve};
use crate::format::Format;
use crate::plan::{Comparison, ListReading, Plan, PoolPlan};

/// Longest time a worker may show no progress in a file: a disk that answers nothing for so long is broken.
const CSV_STALL: Duration = Duration::from_secs(60);

/// The flags of one run, whichever command they stood under.
struct Run {
    pool: PoolPlan,
    sandbox: SandboxLevel,
    targets: Targets,
    lists: ListFlags,
    extract: ExtractFlags,
    /// `None` when nothing is fetched.
    network: Option<NetworkFlags>,
    /// `None` when the records go nowhere.
    output: Option<OutputFlags>,
    then: Option<MapSpec>,
    shown: ShownFlags,
    quiet: bool,
}

impl Run {
    fn fetch(pool: &PoolFlags, job: FetchJob, output: Option<OutputFlags>) -> Result<Self, Problem> {
        let FetchJob { targets, lists, extract, network, then, shown } = job;
        let UrlFlags { urls, sitemap, strict } = targets;
        let (targets, network) = (Targets::Urls(urls, sitemap, strict), Some(network));
        Ok(Self {
            pool: pool_plan(pool),
            sandbox: sandbox(pool),
            quiet: pool.quiet,
            targets,
            lists,
            extract,
            network,
            output,
            then: program::then(&then, pool)?,
            shown,
        })
    }

    fn parse(pool: &PoolFlags, job: ParseJob, output: Option<OutputFlags>) -> Result<Self, Problem> {
        let ParseJob { targets, lists, extract, then, shown } = job;
        let (targets, network) = (Targets::Paths(targets.paths), None);
        Ok(Self {
            pool: pool_plan(pool),
            sandbox: sandbox(pool),
            quiet: pool.quiet,
            targets,
            lists,
            extract,
            network,
            output,
            then: program::then(&then, pool)?,
            shown,
        })
    }
}

/// Decides what is asked for. `typed` tells which flags stood on the command line.
pub(super) fn request(
    flags: Flags,
    typed: &dyn Fn(&str) -> bool,
    around: &Surroundings<'_>,
) -> Result<Request, Problem> {
    let Flags { pool, verb } = flags;
    match verb {
        Some(Verb::Fetch(fetch)) => run(Run::fetch(&pool, fetch.job, Some(fetch.output))?, around),
        Some(Verb::Parse(parse)) => run(Run::parse(&pool, parse.job, Some(parse.output))?, around),
        Some(Verb::Map(map)) => program::map(&pool, map, around).map(|plan| Request::Run(Box::new(plan))),
        Some(Verb::Csv(flags)) => csv(&pool, flags, around),
        Some(Verb::Compare(compare)) => {
            if typed("mode") {
                return Err(Problem::Usage("compare runs every mode; leave out --mode".to_owned()));
            }
            let run = match compare.verb {
                Some(CompareVerb::Fetch(job)) => Run::fetch(&pool, job, None)?,
                Some(CompareVerb::Parse(job)) => Run::parse(&pool, job, None)?,
                None => return Err(no_command()),
            };
            comparison(run, compare.sample, compare.report, around)
        }
        Some(Verb::Serve(flags)) => {
            let (format, level) = (flags.log_format, flags.log_level);
            serve::config(&pool, flags, typed, around)
                .map(|config| Request::Serve(Box::new(config), format, level))
        }
        Some(Verb::Completions { shell }) => Ok(Request::Completions(shell)),
        Some(Verb::Man { dir }) => Ok(Request::ManPages(dir)),
        Some(Verb::Submit(_) | Verb::Jobs(_) | Verb::Results(_) | Verb::Cancel(_) | Verb::Status(_))
        | None => Err(no_command()),
    }
}

fn csv(pool: &PoolFlags, flags: CsvFlags, around: &Surroundings<'_>) -> Result<Request, Problem> {
    let CsvFlags { files, table, reading, output, shown } = flags;
    let inputs: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
    check_side_files(&output.output, &output.side, &inputs)?;
    let place = disk::table(output.output, output.format, output.overwrite, &inputs, around)?;
    let (work, held) = csv::work(&files, &table, &reading)?;
    let plan = Plan {
        work,
        held,
        then: None,
        fields: Vec::new(),
        each: None,
        presets: Vec::new(),
        format: place.format,
        split: None,
        manifest: None,
        parse_timeout: CSV_STALL,
        inputs: Vec::new(),
        lists: ListReading::default(),
        within: None,
        output: place.output,
        object: place.object,
        pool: pool_plan(pool),
        politeness: politeness(None),
        ordered: true,
        strict: reading.strict,
        sandbox: sandbox(pool),
        progress: when(shown.progress),
        quiet: pool.quiet,
        summary: output.side.summary,
        report: output.side.report,
    };
    Ok(Request::Run(Box::new(plan)))
}

fn no_command() -> Problem {
    Problem::Usage("no command was given".to_owned())
}

fn run(run: Run, around: &Surroundings<'_>) -> Result<Request, Problem> {
    plan(run, around).map(|(plan, _)| Request::Run(Box::new(plan)))
}

fn comparison(
    run: Run,
    sample: Option<NonZeroU64>,
    report: Option<PathBuf>,
    around: &Surroundings<'_>,
) -> Result<Request, Problem> {
    let (mut plan, again) = plan(run, around)?;
    plan.pool.mode = None;
    if let Some(once) = again.once {
        return Err(Problem::Usage(format!(
            "compare reads its inputs once for each mode, and {once} can be read only once; save it to a file"
        )));
    }
    if let Some(report) = &report {
        disk::check_side_file("--report", report, &input_paths(&plan.inputs))?;
    }
    plan.report = report;
    Ok(Request::Compare(Box::new(Comparison { plan, sample })))
}

fn plan(run: Run, around: &Surroundings<'_>) -> Result<(Plan, Again), Problem> {
    let (fields, presets) = selection(&run.extract)?;
    let mut again = Again::default();
    let lists = reading(&run.lists)?;
    let (targets, holding) = hold(run.targets, run.extract.body_bytes_max)?;
    let inputs = inputs(targets, run.lists, lists, &mut again, around)?;
    let paths = input_paths(&inputs);
    let (place, ordered, summary, report) = match run.output {
        None => (Place::nowhere(), false, None, None),
        Some(flags) => {
            let place = place(&flags, &paths, around)?;
            (place, flags.ordered, flags.side.summary, flags.side.report)
        }
    };
    let is_archive = matches!(place.format, Format::Warc { .. });
    if is_archive && run.network.is_none() {
        return Err(Problem::Usage(
            "a web archive holds what was sent and received, and `parse` does neither; name the output .jsonl".into(),
        ));
    }
    if is_archive && run.then.is_some() {
        return Err(Problem::Usage(
            "--map adds to a record, and those of a web archive are finished as they are; name the output .jsonl".into(),
        ));
    }
    let body_bytes_max = run.extract.body_bytes_max;
    let politeness = politeness(run.network.as_ref());
    let work = match run.network {
        Some(network) => Work::Fetch(fetch_spec(network, body_bytes_max)),
        None => Work::Parse(ParseSpec { body_bytes_max, held: holding.names }),
    };
    let plan = Plan {
        work,
        then: run.then,
        fields,
        each: run.extract.each,
        presets,
        parse_timeout: run.extract.parse_timeout,
        inputs,
        lists,
        within: None,
        held: holding.files,
        output: place.output,
        object: place.object,
        format: place.format,
        split: place.split,
        manifest: place.manifest,
        pool: run.pool,
        politeness,
        ordered,
        strict: false,
        sandbox: run.sandbox,
        progress: when(run.shown.progress),
        quiet: run.quiet,
        summary,
        report,
    };
    Ok((plan, again))
}

/// The fields of a job and its presets, each of which has a key of its own.
fn selection(flags: &ExtractFlags) -> Result<(Vec<Field>, Vec<Preset>), Problem> {
    let fields = Field::parse_all(&flags.select).map_err(|error| Problem::Usage(error.to_string()))?;
    if let Some(each) = &flags.each {
        each.check(&fields).map_err(Problem::Usage)?;
    }
    let mut presets: Vec<Preset> = Vec::new();
    for preset in flags.preset.iter().map(|flag| flag.preset()) {
        if presets.contains(&preset) {
            continue;
        }
        if flags.each.is_none() && fields.iter().any(|field| field.name == preset.name()) {
            let name = preset.name();
            return Err(Problem::Usage(format!(
                "--preset {name} and a --select want the same name, `{name}`; give the field another"
            )));
        }
        presets.push(preset);
    }
    Ok((fields, presets))
}

fn fetch_spec(flags: NetworkFlags, body_bytes_max: u64) -> FetchSpec {
    // As with curl, a User-Agent header is the user agent.
    let (agents, headers): (Vec<_>, Vec<_>) =
        flags.header.into_iter().partition(|header| header.name.eq_ignore_ascii_case("user-agent"));
    FetchSpec {
        timeout: flags.timeout,
        connect_timeout: flags.connect_timeout,
        body_bytes_max,
        redirects_max: flags.redirects_max,
        address_policy: match flags.address_policy {
            AddressPolicyFlag::Public => AddressPolicy::Public,
            AddressPolicyFlag::Any => AddressPolicy::Any,
        },
        headers: headers.into_iter().map(|header| (header.name, header.value)).collect(),
        user_agent: agents.into_iter().next_back().map_or(flags.user_agent, |header| header.value),
    }
}
