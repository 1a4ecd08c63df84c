//! Resolves flags to a [`Plan`], or refuses flags that contradict each other.

use std::collections::HashSet;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::header::SET_COOKIE;
use shared::address::AddressPolicy;
use shared::job::{FetchSpec, MapSpec, ParseSpec, SandboxLevel, Work};
use shared::request::RequestSpec;
use shared::request_headers;
use shared::select::blocked::{BlockedIf, BlockedRules};
use shared::select::{Field, Preset};

use super::disk::OutputPlan;
use super::flags::{
    AddressPolicyFlag, AdviseFlags, AdviseVerb, CompareVerb, CookiesFlag, CrawlFlags, CsvFlags, ExtractFlags,
    FetchFlags, FetchJob, Flags, FollowFlags, ListFlags, ModeFlag, NetworkFlags, NextFlags, OutputFlags,
    ParseJob, PoolFlags, SaveFlags, ShownFlags, SinceFlags, UrlFlags, Verb,
};
use super::inputs::{ReadOnce, Targets, hold, input_paths, inputs, reading};
use super::parts::{check_side_files, cookie_jar, host_key, place, politeness, pool_plan, sandbox, when};
use super::problem::Problem;
use super::proxies::proxies;
use super::{Environment, Invocation, crawl, csv, disk, login, next, program, request, save, serve, since};
use crate::format::Format;
use crate::plan::{Comparison, Input, ListReading, Plan, PoolPlan, Survey};

/// Longest time a worker may read a file without progress. A disk that is silent for longer is broken.
const CSV_STALL: Duration = Duration::from_secs(60);

/// The flags of one run, whatever its command.
struct Run {
    pool: PoolPlan,
    sandbox: SandboxLevel,
    targets: Targets,
    lists: ListFlags,
    extract: ExtractFlags,
    /// `None` if nothing is fetched.
    network: Option<Box<NetworkFlags>>,
    /// `None` if the records are discarded.
    output: Option<OutputFlags>,
    then: Option<MapSpec>,
    /// `None` if no body is saved.
    save: Option<SaveFlags>,
    /// `None` if pages are not compared with those of an earlier run.
    since: Option<SinceFlags>,
    /// `None` if no links are followed.
    follow: Option<FollowFlags>,
    /// `None` if pages are not followed to the next ones.
    next: Option<NextFlags>,
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
            save: None,
            since: None,
            next: None,
            follow: None,
            shown,
        })
    }

    fn crawl(pool: &PoolFlags, flags: CrawlFlags) -> Result<Self, Problem> {
        let CrawlFlags { urls, follow, lists, extract, network, save, output, shown } = flags;
        crawl::check(&network, &lists, &output)?;
        Ok(Self {
            pool: pool_plan(pool),
            sandbox: sandbox(pool),
            quiet: pool.quiet,
            targets: Targets::Urls(urls, Vec::new(), false),
            lists,
            extract,
            network: Some(network),
            output: Some(output),
            then: None,
            save: Some(save),
            since: None,
            next: None,
            follow: Some(follow),
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
            save: None,
            since: None,
            follow: None,
            next: None,
            shown,
        })
    }
}

/// Resolves the flags to a request. `typed` returns whether a flag is on the command line.
pub(super) fn request(
    flags: Flags,
    typed: &dyn Fn(&str) -> bool,
    env: &Environment<'_>,
) -> Result<Invocation, Problem> {
    let Flags { pool, verb } = flags;
    match verb {
        Some(Verb::Fetch(fetch)) => {
            let FetchFlags { job, save, since, next, output } = fetch;
            let run_flags = Run::fetch(&pool, job, Some(output))?;
            run(Run { save: Some(save), since: Some(since), next: Some(next), ..run_flags }, env)
        }
        Some(Verb::Crawl(flags)) => run(Run::crawl(&pool, *flags)?, env),
        Some(Verb::Parse(parse)) => run(Run::parse(&pool, parse.job, Some(parse.output))?, env),
        Some(Verb::Map(map)) => program::map(&pool, map, env).map(|plan| Invocation::Run(Box::new(plan))),
        Some(Verb::Csv(flags)) => csv(&pool, flags, env),
        Some(Verb::Compare(compare)) => {
            if typed("mode") {
                return Err(Problem::Usage("compare runs every mode; leave out --mode".to_owned()));
            }
            let run = match compare.verb {
                Some(CompareVerb::Fetch(job)) => Run::fetch(&pool, job, None)?,
                Some(CompareVerb::Parse(job)) => Run::parse(&pool, job, None)?,
                None => return Err(no_command()),
            };
            comparison(run, compare.sample, compare.report, env)
        }
        Some(Verb::Advise(advise)) => survey(pool, advise, typed, env),
        Some(Verb::Serve(flags)) => {
            let (format, level) = (flags.log_format, flags.log_level);
            serve::config(&pool, flags, typed, env)
                .map(|config| Invocation::Serve(Box::new(config), format, level))
        }
        Some(Verb::Completions { shell }) => Ok(Invocation::Completions(shell)),
        Some(Verb::Man { dir }) => Ok(Invocation::ManPages(dir)),
        Some(Verb::Submit(_) | Verb::Jobs(_) | Verb::Results(_) | Verb::Cancel(_) | Verb::Status(_))
        | None => Err(no_command()),
    }
}

fn csv(pool: &PoolFlags, flags: CsvFlags, env: &Environment<'_>) -> Result<Invocation, Problem> {
    let CsvFlags { files, table, reading, output, shown } = flags;
    let inputs: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
    check_side_files(&output.output, &output.side, &inputs)?;
    let place = disk::table(output.output, output.format, output.overwrite, &inputs, env)?;
    let (work, held) = csv::work(&files, &table, &reading, env)?;
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
        host_key: host_key(None),
        ordered: true,
        strict: reading.strict,
        sandbox: sandbox(pool),
        progress: when(shown.progress),
        quiet: pool.quiet,
        summary: output.side.summary,
        report: output.side.report,
        traps: None,
        cookie_jar: None,
    };
    Ok(Invocation::Run(Box::new(plan)))
}

fn no_command() -> Problem {
    Problem::Usage("no command was given".to_owned())
}

fn run(run: Run, env: &Environment<'_>) -> Result<Invocation, Problem> {
    plan(run, env).map(|(plan, _)| Invocation::Run(Box::new(plan)))
}

fn comparison(
    run: Run,
    sample: Option<NonZeroU64>,
    report: Option<PathBuf>,
    env: &Environment<'_>,
) -> Result<Invocation, Problem> {
    let (mut plan, read_once) = plan(run, env)?;
    plan.pool.mode = None;
    if let Work::Fetch(FetchSpec { request: Some(request), .. }) = &plan.work
        && request.at_most_once
    {
        return Err(Problem::Usage(
            "compare sends each request four times; leave out --at-most-once, or run fetch".to_owned(),
        ));
    }
    if let Some(input) = read_once.first {
        return Err(Problem::Usage(format!(
            "compare reads its inputs four times, and {input} can be read only once; save it to a file"
        )));
    }
    if let Some(report) = &report {
        disk::check_side_file("--report", report, &input_paths(&plan.inputs))?;
    }
    plan.report = report;
    Ok(Invocation::Compare(Box::new(Comparison { plan, sample })))
}

fn survey(
    pool: PoolFlags,
    flags: AdviseFlags,
    typed: &dyn Fn(&str) -> bool,
    env: &Environment<'_>,
) -> Result<Invocation, Problem> {
    if typed("mode") {
        return Err(Problem::Usage("advise picks the mode; leave out --mode".to_owned()));
    }
    let pool = PoolFlags { mode: ModeFlag::Auto, ..pool };
    let run = match flags.verb {
        Some(AdviseVerb::Fetch(job)) => Run::fetch(&pool, job, None)?,
        Some(AdviseVerb::Parse(job)) => Run::parse(&pool, job, None)?,
        None => return Err(no_command()),
    };
    let (mut plan, _) = plan(run, env)?;
    if plan.inputs.iter().any(|input| matches!(input, Input::Sitemaps(_))) {
        return Err(Problem::Usage(
            "advise does not read sitemaps, because that takes more requests than --sample allows; give a list \
             of their pages with -i"
                .to_owned(),
        ));
    }
    plan.politeness.retries = 0;
    Ok(Invocation::Advise(Box::new(Survey { plan, sample: flags.sample, json: flags.json })))
}

fn plan(mut run: Run, env: &Environment<'_>) -> Result<(Plan, ReadOnce), Problem> {
    let (fields, presets) = selection(&run.extract)?;
    let mut read_once = ReadOnce::default();
    let lists = reading(&run.lists, env)?;
    let (targets, held) = hold(run.targets, run.extract.body_bytes_max)?;
    let request = run.network.as_deref_mut().map(|network| request::request(network, &run.lists, env));
    let request = request.transpose()?.flatten();
    let inputs = inputs(targets, run.lists, lists, request.as_ref(), &mut read_once, env)?;
    let paths = input_paths(&inputs);
    let cookie_jar = cookie_jar(run.network.as_deref(), run.output.as_ref(), &paths)?;
    let (place, ordered, summary, report) = match run.output {
        None => (OutputPlan::discarded(), false, None, None),
        Some(flags) => {
            let place = place(&flags, &paths, env)?;
            (place, flags.ordered, flags.side.summary, flags.side.report)
        }
    };
    let traps = crawl::traps(run.follow.as_ref(), &place, &paths)?;
    if matches!(place.format, Format::Warc { .. }) {
        check_archive(run.network.is_some(), run.then.is_some())?;
    }
    let body_bytes_max = run.extract.body_bytes_max;
    let politeness = politeness(run.network.as_deref());
    let host_key = host_key(run.network.as_deref());
    let work = match run.network {
        Some(network) => {
            let (saves, repeats) = (run.save, network.blocked_if.contains(&BlockedIf::Repeats));
            let spec = fetch_spec(*network, request, body_bytes_max, &inputs, env)?;
            let reads = !fields.is_empty() || !presets.is_empty() || run.follow.is_some();
            let spec = save::saving(spec, saves, reads, repeats, &place)?;
            match run.follow {
                Some(follow) => Work::Crawl(Box::new(crawl::spec(spec, follow, politeness.obeys_robots)?)),
                None => {
                    let spec = since::since(spec, run.since, run.then.is_some(), &place, env)?;
                    Work::Fetch(next::next(spec, run.next, run.then.is_some(), ordered)?)
                }
            }
        }
        None => Work::Parse(ParseSpec { body_bytes_max, held: held.names }),
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
        held: held.files,
        output: place.output,
        object: place.object,
        format: place.format,
        split: place.split,
        manifest: place.manifest,
        pool: run.pool,
        politeness,
        host_key,
        ordered,
        strict: false,
        sandbox: run.sandbox,
        progress: when(run.shown.progress),
        quiet: run.quiet,
        summary,
        report,
        traps,
        cookie_jar,
    };
    Ok((plan, read_once))
}

/// Refuses a web archive of what is not fetched, or not written as it came.
fn check_archive(is_fetched: bool, is_mapped: bool) -> Result<(), Problem> {
    if !is_fetched {
        return Err(Problem::Usage(
            "`parse` cannot write a web archive, because it fetches nothing; name the output .jsonl".into(),
        ));
    }
    if is_mapped {
        return Err(Problem::Usage(
            "--map cannot add to the records of a web archive; name the output .jsonl".into(),
        ));
    }
    Ok(())
}

/// Resolves the fields and presets, and refuses two with the same key.
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
                "--preset {name} and a --select use the same name, `{name}`; rename the field"
            )));
        }
        presets.push(preset);
    }
    Ok((fields, presets))
}

fn fetch_spec(
    flags: NetworkFlags,
    request: Option<RequestSpec>,
    body_bytes_max: u64,
    inputs: &[Input],
    env: &Environment<'_>,
) -> Result<FetchSpec, Problem> {
    request_headers::check_together(flags.header.iter().map(|header| header.name.as_str()))
        .map_err(|error| Problem::Usage(format!("--header: {error}")))?;
    // As with curl, a User-Agent header is the user agent.
    let (agents, headers): (Vec<_>, Vec<_>) =
        flags.header.into_iter().partition(|header| header.name.eq_ignore_ascii_case("user-agent"));
    let mut header_scope = flags.header_scope;
    if !header_scope.only_these {
        header_scope.homes = inputs.iter().flat_map(sitemaps_of).cloned().collect();
    }
    let cookies = match flags.cookies {
        Some(CookiesFlag::On) => true,
        Some(CookiesFlag::Off) => false,
        None => flags.cookie_jar.is_some(),
    };
    let login = login::login(flags.request.login.as_ref(), env)?;
    let profiles = login::profiles(&flags.request.profile)?;
    let cookies = match (&login, flags.cookies) {
        (Some(_), Some(CookiesFlag::Off)) => {
            return Err(Problem::Usage("a login needs cookies, and --cookies is off".to_owned()));
        }
        (login, _) => cookies || login.is_some(),
    };
    let transport = request::transport(&flags.request, env)?;
    let response_headers = distinct(flags.request.response_header);
    if cookies && response_headers.iter().any(|name| *name == SET_COOKIE.as_str()) {
        return Err(Problem::Usage(
            "--response-header cannot name Set-Cookie while cookies are kept: they are secrets; leave one out"
                .to_owned(),
        ));
    }
    let mut blocked = BlockedRules::of(flags.blocked_if);
    // Answers to a POST are often all the same.
    blocked.repeats &= !request.as_ref().is_some_and(RequestSpec::is_sent);
    Ok(FetchSpec {
        timeout: flags.timeout,
        connect_timeout: flags.connect_timeout,
        body_bytes_max,
        redirects_max: flags.redirects_max,
        address_policy: match flags.address_policy {
            AddressPolicyFlag::Public => AddressPolicy::Public,
            AddressPolicyFlag::Any => AddressPolicy::Any,
        },
        blocked,
        save: None,
        since: None,
        login: login.map(Box::new),
        profiles,
        next: None,
        request: request.map(Box::new),
        transport,
        response_headers,
        cookies,
        proxies: proxies(flags.proxies, env)?,
        headers: headers.into_iter().map(|header| (header.name, header.value)).collect(),
        header_scope,
        user_agent: agents.into_iter().next_back().map_or(flags.user_agent, |header| header.value),
    })
}

/// Leaves out what was there before.
fn distinct(names: Vec<String>) -> Vec<String> {
    let mut seen = HashSet::new();
    names.into_iter().filter(|name| seen.insert(name.clone())).collect()
}

/// The sitemaps that an input names.
fn sitemaps_of(input: &Input) -> &[String] {
    if let Input::Sitemaps(sitemaps) = input { &sitemaps.urls } else { &[] }
}
