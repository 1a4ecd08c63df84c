//! The parts of the long help that are not flags: the modes, the examples and the exit status. Each example
//! can be run as it stands. Lines fit in 80 columns.

pub(super) const ABOUT: &str = "\
Fetch and parse in bulk on every core.

A supervisor process starts worker processes, hands out the inputs, and writes
one JSON record per input. The mode says how the workers work. The records are
the same in all four modes:

  --mode sequential  one worker, one target at a time: a few URLs, debugging
  --mode concurrent  one worker, many targets in flight: slow servers
  --mode parallel    one worker per CPU, one target each: parsing saved pages
  --mode both        one worker per CPU, many targets in flight: crawling

The default, --mode auto, starts with few inputs at once, adds more while that helps, and says why it stopped.";

/// Appends the sources of flags and the exit status, for every command that runs a job.
macro_rules! with_sources {
    ($examples:literal) => {
        concat!(
            $examples,
            "

Other ways to set a flag:
  --per-host 4 can also be MUSTER_PER_HOST=4 in the environment, or per-host = 4
  in a job file (--job) or a config file (--config). The command line overrides
  the environment, which overrides the job file, which overrides the config
  file. Values of a repeatable flag are a list in a file, and one per line in a
  variable. Each source replaces the whole list.

Exit status:
  0      every input succeeded
  1      the run failed: an input is missing, the output exists, …
  2      a flag, a selector or a settings file is wrong; nothing was started
  3      the run finished, but some inputs failed; their records say why
  128+N  stopped by signal N"
        )
    };
}

pub(super) const ROOT: &str = with_sources!(
    "\
Examples:
  supervisor fetch https://example.com/ --select title=title
  supervisor fetch -i urls.txt -o pages.jsonl --select 'links[]=a::attr(href)'
  supervisor crawl https://example.com/ -o site.jsonl --select title=title
  supervisor parse site/ -o pages.jsonl --select title=title
  supervisor map -i pages.jsonl -o titles.jsonl -- jq -c .fields.title
  supervisor csv sales.csv --group-by city --agg 'revenue=sum(price)' -o city.csv
  supervisor compare fetch -i urls.txt --sample 200 --report compare.html
  supervisor advise fetch -i urls.txt --select title=title
  supervisor --job job.toml
  supervisor --workers auto

Without a command, `serve` runs."
);

pub(super) const FETCH: &str = with_sources!(
    "\
Examples:
  Titles and links of a list of URLs, 64 in flight per worker:
    supervisor fetch -i urls.txt -o pages.jsonl --mode both --concurrency 64 \\
      --select title=title --select 'links[]=a::attr(href)'
  URLs in a column of a CSV file, two per second and host, with each row's id:
    supervisor fetch -i shops.csv --column homepage --keep id --rate 2/s -o shops.jsonl
  Products of each page as a list of objects, and the page's JSON-LD:
    supervisor fetch -i shops.txt --each div.product --select name=h2 \\
      --select 'price=.price | re([0-9.,]+) | float' --preset jsonld
  All pages of a site, as a web archive:
    supervisor fetch --sitemap https://example.com/sitemap.xml -o site.warc.gz
  In a pipe:
    cut -f 2 rows | supervisor fetch -i - | jq -r .final_url
  A job in a file, with one flag overridden:
    printf 'command = \"fetch\"\\nurls = [\"https://example.com/\"]\\n' > job.toml
    supervisor --job job.toml --timeout 5s

Selectors:
  CSS        ends with ::text (the default: all text inside the element,
             trimmed), ::attr(NAME) or ::html
  JSONPath   begins with $; for JSON bodies
  XPath 1.0  begins with / or ./ or xpath:

  NAME=SEL takes the first match, or null. NAME[]=SEL takes every match. URLs in
  href and src are resolved against the base URL of the page.

  Steps can follow, each after a |: re(REGEX), strip, int, float, url, first,
  join(SEPARATOR), default(VALUE).

  XML such as feeds and XHTML is recognized by its media type or file extension.
  Its selectors match local names and are case-sensitive."
);

pub(super) const CRAWL: &str = with_sources!(
    "\
Examples:
  All pages of a site, with their titles:
    supervisor crawl https://example.com/ --select title=title -o pages.jsonl
  Broken links, with the pages they stand on:
    supervisor crawl https://example.com/ -o links.jsonl
    jq -c 'select(.error) | {url, status, parent}' links.jsonl
  One section, two links deep, at most 1000 pages:
    supervisor crawl https://example.com/docs/ --scope prefix --depth 2 \\
      --pages-max 1000 -o docs.jsonl
  A web archive of a site, without its calendar:
    supervisor crawl https://example.com/ --exclude /calendar/ -o site.warc.gz

A record has depth (links from a named URL, by the shortest way), parent (the id
of the page that it was found on) and found (pages that its links lead to). Ids
are in the order of discovery. They are the same in every run over the same
pages, in all modes. robots.txt, nofollow and noindex are obeyed, unless
--robots ignore is given."
);

pub(super) const PARSE: &str = with_sources!(
    "\
Examples:
  Titles of every *.html and *.htm file below a directory, on all cores:
    supervisor parse site/ -o pages.jsonl --select title=title
  Files listed by another program:
    find . -name '*.xhtml' | supervisor parse -i - --select h1=h1
  Records in input order:
    supervisor parse a.html b.html --ordered --select 'links[]=a::attr(href)'

A named file is parsed whatever its extension. A file that cannot be read gives
a record with an error. Symbolic links to files and directories are followed,
even to targets outside the named directory."
);

pub(super) const MAP: &str = with_sources!(
    "\
Examples:
  One field of each line, on all cores:
    supervisor map -i records.jsonl -o names.jsonl -- jq -c .name
  Your own script, one copy per worker, with records in input order:
    supervisor map -i records.jsonl -o out.jsonl --ordered -- python3 -u score.py
  In a pipe, with the program's lines unchanged:
    supervisor map -i records.jsonl.gz --raw -- ./clean | head

Each worker runs one copy of the program. It reads JSON lines from its standard
input and must write one line for each, in the same order. The record of line N
is {\"id\":N,\"value\":…}. Its standard error is passed on. If the program dies
or is silent for longer than --timeout, the line is retried alone, then set
aside."
);

pub(super) const CSV: &str = with_sources!(
    "\
Examples:
  Rows and revenue by country and year:
    supervisor csv sales.csv --group-by country,year \\
      --agg 'n=count' --agg 'revenue=sum(price)' -o revenue.csv
  One total over some rows of several compressed files:
    supervisor csv logs/*.csv.gz --where 'status >= 500' \\
      --agg 'errors=count' --agg 'users=distinct(user)'
  A file without header, with another delimiter and encoding:
    supervisor csv old.txt --no-header --delimiter ';' --encoding windows-1252 \\
      --group-by 2 --agg 'p95=quantile(5, 0.95)'

Functions: count, count(COL), sum, min, max, mean, var, stddev, distinct
(approximate, about 0.8 % off) and quantile(COL, Q) (approximate, within 1 % of
the rank). Empty cells are not counted as values. Rows with too few or too many
cells, or with text where a number is needed, are skipped, counted, and listed
by line number. The output is written as a whole at the end, so a stopped run
cannot be resumed."
);

pub(super) const COMPARE: &str = with_sources!(
    "\
Examples:
  supervisor compare fetch -i urls.txt --sample 200 --report compare.html
  supervisor compare parse site/ --select title=title --workers 4
  supervisor compare --job job.toml

The inputs are read once per mode, so they cannot come from a pipe. The table is
printed on standard error. The records are discarded."
);

pub(super) const ADVISE: &str = with_sources!(
    "\
Examples:
  supervisor advise fetch -i urls.txt --select title=title --per-host 4
  supervisor advise fetch -i urls.txt --rate 2/s --sample 50
  supervisor advise parse site/ --select title=title
  supervisor advise fetch -i urls.txt --json | jq -r .recommended.flags

Takes a random sample of the first 10,000 inputs: at most 2 of each host, or
more if the hosts are few. It never sends more requests than --sample says,
redirects included; nothing is retried and nothing is written. The sample keeps
the limits per host. It runs with few requests in flight, then with many.

Each bound is what one resource allows, in targets per second:
  cpu          cores ÷ CPU time of a target
  hosts        sum over hosts of requests in flight ÷ time of a target
  delays       sum over hosts of the starts that --rate or --delay allows
  memory       targets that fit into half of the free memory ÷ time of a target
  descriptors  connections that the limit of open files allows ÷ the same
  concurrency  --concurrency × workers ÷ the same
  bandwidth    speed of the network, if known or reached ÷ bytes of a target
  disk         for parse: workers ÷ time of a file that is read first

The smallest bound is the bottleneck. The time is that of a run with the flags
advised, and without failures. Pipes are read up to 10,000 inputs; the time for
longer ones is unknown."
);

pub(super) const SUBMIT: &str = "\
Examples:
  Submit a list of URLs, and fetch the records later:
    id=$(supervisor submit fetch -i urls.txt --select title=title --name nightly)
    supervisor results $id -f -o pages.jsonl
  Run in the service, with the progress bar and exit status of a local run:
    supervisor submit parse site/ --select title=title --wait
  URLs from another program, sent as they arrive:
    crawl-frontier | supervisor submit fetch -i - --priority 10
  A job in a file:
    supervisor submit --job job.toml

Prints the job's number. Local files are uploaded: lists given with -i, pages of
parse, tables of csv. Ctrl-C during --wait leaves the job running.

Exit status:
  0  the job was accepted; with --wait, every input succeeded
  1  the service cannot be reached or failed; with --wait, the job failed
  2  the job was refused
  3  with --wait: the job finished, but some inputs failed";

pub(super) const JOBS: &str = "\
Examples:
  supervisor jobs --state running,queued
  supervisor jobs --json | jq '.jobs[] | select(.counts.failed > 0) | .id'
  supervisor jobs pause 17
  supervisor jobs retry-failed 17
  supervisor cancel 17
  supervisor jobs remove 17";

pub(super) const RESULTS: &str = "\
Examples:
  supervisor results 17 -o pages.jsonl
  supervisor results 17 -f | jq -r .fields.title
  supervisor results 17 --only failed

With --follow, the command waits while the service restarts.";

pub(super) const STATUS: &str = "\
Examples:
  supervisor status
  supervisor status 17
  supervisor status --json | jq '.workers[] | select(.phase == \"extract\")'
  supervisor status --url https://muster.example:8443 --token-file token

The service's certificate must be signed by a CA that the system trusts. For your
own CA, give its certificate with --ca.";

pub(super) const SERVE: &str = with_sources!(
    "\
Examples:
  For yourself, with one worker per CPU:
    supervisor serve
  With at most four concurrent jobs:
    supervisor serve --workers auto --jobs-max 4
  On the network, with a token and TLS:
    supervisor serve --listen 0.0.0.0:8443 --token-file /etc/muster/token \\
      --tls-cert /etc/muster/cert.pem --tls-key /etc/muster/key.pem
  For jobs that read files of this machine:
    supervisor serve --allow-path /srv/pages

Jobs are kept in the state directory, so they survive restarts and crashes.

Signals:
  SIGTERM           finish the targets in flight, then exit; jobs continue at the
                    next start; a second SIGTERM stops at once
  SIGHUP            reload settings, certificates and the token, and replace all
                    workers, one at a time
  SIGTTIN, SIGTTOU  add or remove one worker"
);

pub(super) const COMPLETIONS: &str = "\
Examples:
  supervisor completions bash > /etc/bash_completion.d/supervisor
  supervisor completions zsh > ~/.zfunc/_supervisor
  supervisor completions fish > ~/.config/fish/completions/supervisor.fish";

pub(super) const MAN: &str = "\
Examples:
  supervisor man /usr/local/share/man/man1";
