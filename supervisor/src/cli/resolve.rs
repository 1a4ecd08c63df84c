//! From flags to a [`Plan`]: what they mean together, and whether they make sense.

use std::num::{NonZeroU32, NonZeroU64};
use std::path::{Path, PathBuf};
use std::time::Duration;

use shared::address::AddressPolicy;
use shared::job::{Executor, FetchSpec, MapSpec, Mode, ParseSpec, SandboxLevel, Work};
use shared::select::{Field, Preset};

use super::disk::Place;
use super::flags::{
    AddressPolicyFlag, CompareVerb, CsvFlags, ExtractFlags, FetchJob, Flags, ListFlags, ModeFlag,
    NetworkFlags, OutputFlags, ParseJob, PoolFlags, SandboxFlag, ShownFlags, SideFlags, Verb, WhenFlag,
};
use super::inputs::{Again, Targets, input_paths, inputs};
use super::values::Limit;
use super::{Request, Surroundings, csv, disk, program, serve};
use crate::format::Format;
use crate::plan::{Comparison, CsvPlan, Output, PerHost, Plan, Politeness, PoolPlan, When};
use crate::sink::whole;

/// Longest time a worker may show no progress in a file: a disk that answers nothing for so long is broken.
const CSV_STALL: Duration = Duration::from_secs(60);

/// Why flags that were each well formed are refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Problem {
    /// They make no sense together.
    Usage(String),
    /// They make sense, and cannot be done here and now.
    Impossible(String),
}

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
        let (targets, network) = (Targets::Urls(targets.urls, targets.sitemap), Some(network));
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
    let plan = Plan {
        work: csv::work(&files, &table, &reading)?,
        then: None,
        fields: Vec::new(),
        each: None,
        presets: Vec::new(),
        format: place.format,
        split: None,
        manifest: None,
        parse_timeout: CSV_STALL,
        inputs: Vec::new(),
        output: place.output,
        object: place.object,
        pool: pool_plan(pool),
        politeness: politeness(None),
        ordered: true,
        sandbox: sandbox(pool),
        progress: when(shown.progress),
        quiet: pool.quiet,
        summary: output.side.summary,
        report: output.side.report,
    };
    Ok(Request::Csv(Box::new(CsvPlan { plan, strict: reading.strict })))
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
    let inputs = inputs(run.targets, run.lists, &mut again, around)?;
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
        None => Work::Parse(ParseSpec { body_bytes_max }),
    };
    let plan = Plan {
        work,
        then: run.then,
        fields,
        each: run.extract.each,
        presets,
        parse_timeout: run.extract.parse_timeout,
        inputs,
        output: place.output,
        object: place.object,
        format: place.format,
        split: place.split,
        manifest: place.manifest,
        pool: run.pool,
        politeness,
        ordered,
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

/// Where the records go, which no other file of the run may be.
pub(super) fn place(
    flags: &OutputFlags,
    inputs: &[&Path],
    around: &Surroundings<'_>,
) -> Result<Place, Problem> {
    check_side_files(&flags.output, &flags.side, inputs)?;
    if let Some(manifest) = &flags.manifest {
        disk::check_side_file("--manifest", manifest, inputs)?;
        if flags.split.is_some() {
            return Err(Problem::Usage(format!(
                "--manifest: with --split the manifest is {} in the directory; leave the flag out",
                whole::MANIFEST
            )));
        }
        let side = [
            ("--output", Some(&flags.output)),
            ("--summary", flags.side.summary.as_ref()),
            ("--report", flags.side.report.as_ref()),
        ];
        for (flag, path) in side {
            if let Some(path) = path {
                disk::check_distinct(&[("--manifest", manifest), (flag, path)])?;
            }
        }
    }
    let place = disk::output(flags, inputs, around)?;
    let is_file = matches!(&place.output, Output::File { path, .. } if disk::will_be_file(path));
    if place.manifest.is_some() && !is_file {
        return Err(Problem::Usage("--manifest describes a file; name one with --output FILE".to_owned()));
    }
    Ok(place)
}

pub(super) fn check_side_files(output: &Path, side: &SideFlags, inputs: &[&Path]) -> Result<(), Problem> {
    let mut files: Vec<(&str, &Path)> = Vec::new();
    if output != Path::new("-") {
        files.push(("--output", output));
    }
    for (flag, path) in [("--summary", &side.summary), ("--report", &side.report)] {
        if let Some(path) = path {
            disk::check_side_file(flag, path, inputs)?;
            files.push((flag, path));
        }
    }
    disk::check_distinct(&files)
}

/// A mode that has one worker, or one target at a time, is that whatever else
/// is set: changing the mode of a job must not take changing its other flags.
pub(super) fn pool_plan(flags: &PoolFlags) -> PoolPlan {
    let mode = match flags.mode {
        ModeFlag::Auto => None,
        ModeFlag::Sequential => Some(Mode::Sequential),
        ModeFlag::Concurrent => Some(Mode::Concurrent),
        ModeFlag::Parallel => Some(Mode::Parallel),
        ModeFlag::Both => Some(Mode::Both),
    };
    let one_worker = mode.is_some_and(|mode| !mode.many_workers());
    let one_target = mode.is_some_and(|mode| mode.executor() == Executor::Blocking);
    PoolPlan {
        workers: if one_worker { Some(NonZeroU32::MIN) } else { flags.workers.0 },
        mode,
        concurrency: if one_target { Some(NonZeroU32::MIN) } else { flags.concurrency.0 },
        worker_memory_bytes: flags.worker_memory,
        recycle_after: flags.recycle,
    }
}

pub(super) const fn when(flag: WhenFlag) -> When {
    match flag {
        WhenFlag::Auto => When::Auto,
        WhenFlag::Always => When::Always,
        WhenFlag::Never => When::Never,
    }
}

pub(super) fn sandbox(flags: &PoolFlags) -> SandboxLevel {
    match flags.sandbox {
        SandboxFlag::Auto => SandboxLevel::Auto,
        SandboxFlag::Require => SandboxLevel::Require,
        SandboxFlag::Off => SandboxLevel::Off,
    }
}

pub(super) fn politeness(network: Option<&NetworkFlags>) -> Politeness {
    match network {
        // A file is nobody's host, and reading it again gives the same.
        None => Politeness { per_host: PerHost::Unlimited, rate_per_s: None, retries: 0 },
        Some(flags) => Politeness {
            per_host: match flags.per_host {
                Limit::Auto => PerHost::Auto,
                Limit::AtMost(n) => PerHost::Limit(n),
                Limit::Unlimited => PerHost::Unlimited,
            },
            rate_per_s: flags.rate.map(|rate| rate.0),
            retries: flags.retries,
        },
    }
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
