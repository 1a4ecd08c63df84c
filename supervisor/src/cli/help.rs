//! What the long help says beyond one line a flag: the four modes, and examples
//! that can be typed as they stand. Lines are short enough for 80 columns.

pub(super) const ABOUT: &str = "\
Fetch and parse in bulk, on every core, losing nothing.

One supervisor process starts worker processes, hands out the inputs and gathers
one JSON record for each. How they work is a flag away, and the records are the
same in all four modes:

  --mode sequential  one worker, one target at a time: a few URLs, debugging
  --mode concurrent  one worker, many targets waiting at once: slow servers
  --mode parallel    a worker per CPU, one target each: parsing saved pages
  --mode both        a worker per CPU, many targets waiting in each: crawling

The default, --mode auto, measures a few inputs, picks, and says why.";

/// Said under every command that runs: where else its flags may come from.
macro_rules! with_sources {
    ($examples:literal) => {
        concat!(
            $examples,
            "

Other ways to give a flag:
  --per-host 4 is also MUSTER_PER_HOST=4 in the environment, and per-host = 4 in
  a job file (--job) or a config file (--config). The flag wins over the
  environment, the environment over the job file, the job file over the config
  file. A repeatable flag is a list in a file, one value a line in a variable;
  giving it again replaces the whole list.

Exit status:
  0  every input succeeded
  1  the run could not be done: an input is missing, the output exists, …
  2  the flags, a selector or a file of flags is wrong; nothing was started
  3  done, but some inputs failed; their records say why
  128+N  stopped by signal N"
        )
    };
}

pub(super) const ROOT: &str = with_sources!(
    "\
Examples:
  supervisor fetch https://example.com/ --select title=title
  supervisor fetch -i urls.txt -o pages.jsonl --select 'links[]=a::attr(href)'
  supervisor parse site/ -o pages.jsonl --select title=title
  supervisor map -i pages.jsonl -o titles.jsonl -- jq -c .fields.title
  supervisor csv sales.csv --group-by city --agg 'revenue=sum(price)' -o city.csv
  supervisor compare fetch -i urls.txt --sample 200 --report compare.html
  supervisor --job job.toml
  supervisor --workers auto

Without a command, `serve` is run."
);

pub(super) const FETCH: &str = with_sources!(
    "\
Examples:
  Titles and links of a list of URLs, 64 at a time in each worker:
    supervisor fetch -i urls.txt -o pages.jsonl --mode both --concurrency 64 \\
      --select title=title --select 'links[]=a::attr(href)'
  URLs out of a CSV file's column, two a second to each host, the row's id in each record:
    supervisor fetch -i shops.csv --column homepage --keep id --rate 2/s -o shops.jsonl
  Products of each page as a list of objects, and what the page says it is:
    supervisor fetch -i shops.txt --each div.product --select name=h2 \\
      --select 'price=.price | re([0-9.,]+) | float' --preset jsonld
  A site's pages, as a web archive:
    supervisor fetch --sitemap https://example.com/sitemap.xml -o site.warc.gz
  In a pipe:
    cut -f 2 rows | supervisor fetch -i - | jq -r .final_url
  The whole job in a file, one flag of it overridden:
    printf 'command = \"fetch\"\\nurls = [\"https://example.com/\"]\\n' > job.toml
    supervisor --job job.toml --timeout 5s

A selector is CSS with a last step: ::text (the default; all text inside,
trimmed), ::attr(NAME) or ::html. One that begins with $ is JSONPath, for JSON
bodies; one that begins with / or ./ or xpath: is XPath 1.0. NAME=… takes the
first match or null, NAME[]=… every match. href and src are resolved against
the page's base. XML, such as feeds and XHTML, is known by its media type or its
file's extension; selectors match its local names, and case counts. Steps
follow: | re(REGEX) | strip | int | float | url | first | join(SEPARATOR)
| default(VALUE)."
);

pub(super) const PARSE: &str = with_sources!(
    "\
Examples:
  Titles of every *.html and *.htm file below a directory, on all cores:
    supervisor parse site/ -o pages.jsonl --select title=title
  Files that another program lists:
    find . -name '*.xhtml' | supervisor parse -i - --select h1=h1
  In the order of the inputs:
    supervisor parse a.html b.html --ordered --select 'links[]=a::attr(href)'

A named file is parsed whatever its name; one that cannot be read is a record
with an error. Links to files and to directories are followed, also out of the
directory that is named."
);

pub(super) const MAP: &str = with_sources!(
    "\
Examples:
  One field of each line, on all cores:
    supervisor map -i records.jsonl -o names.jsonl -- jq -c .name
  A script of your own, one copy of it in each worker, in the order of the input:
    supervisor map -i records.jsonl -o out.jsonl --ordered -- python3 -u score.py
  In a pipe, with the program's lines as they are:
    supervisor map -i records.jsonl.gz --raw -- ./clean | head

The program is started once in each worker. It reads JSON lines from its
standard input and writes one line for each, in the same order; the record is
{\"id\":N,\"value\":…}. Its standard error is passed on. A line on which it dies
or is silent for longer than --timeout is tried again, alone, and then set aside."
);

pub(super) const CSV: &str = with_sources!(
    "\
Examples:
  Rows and revenue by country and year:
    supervisor csv sales.csv --group-by country,year \\
      --agg 'n=count' --agg 'revenue=sum(price)' -o revenue.csv
  Some rows of several packed files, one total:
    supervisor csv logs/*.csv.gz --where 'status >= 500' \\
      --agg 'errors=count' --agg 'users=distinct(user)'
  No header, another delimiter, another encoding:
    supervisor csv old.txt --no-header --delimiter ';' --encoding windows-1252 \\
      --group-by 2 --agg 'p95=quantile(5, 0.95)'

Functions: count, count(COL), sum, min, max, mean, var, stddev, distinct (about
0.8 % off) and quantile(COL, Q) (within 1 % of the rank). Empty cells are no
values. A row with too few or too many cells, or with a cell that should be a
number and is none, is not used: it is counted and shown by its line.
The output is written as a whole at the end; there is nothing to resume."
);

pub(super) const COMPARE: &str = with_sources!(
    "\
Examples:
  supervisor compare fetch -i urls.txt --sample 200 --report compare.html
  supervisor compare parse site/ --select title=title --workers 4
  supervisor compare --job job.toml

The inputs are run once in each mode, so they must be files, not a pipe. The
table goes to stderr; the records go nowhere."
);

pub(super) const SUBMIT: &str = "\
Examples:
  Titles of a list of URLs, at night, without waiting for it:
    id=$(supervisor submit fetch -i urls.txt --select title=title --name nightly)
    supervisor results $id -f -o pages.jsonl
  As on the command line, but in the service, with the same bar and exit status:
    supervisor submit parse site/ --select title=title --wait
  What another program lists, sent while it does:
    crawl-frontier | supervisor submit fetch -i - --priority 10
  The whole job in a file:
    supervisor submit --job job.toml

Prints the job's number. Local files are sent along: lists given with -i, pages of
parse, tables of csv. Ctrl-C while --wait waits leaves the job running.

Exit status: 0 taken in, or with --wait done; 1 the service is not there or cannot;
2 the job was refused; with --wait 3 done, but some inputs failed.";

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

With --follow a service that is restarted meanwhile is waited for.";

pub(super) const STATUS: &str = "\
Examples:
  supervisor status
  supervisor status 17
  supervisor status --json | jq '.workers[] | select(.phase == \"extract\")'
  supervisor status --url https://muster.example:8443 --token-file token

Certificates are checked against the system's; for one of your own name its CA with --ca.";

pub(super) const SERVE: &str = with_sources!(
    "\
Examples:
  For yourself, with one worker for each CPU:
    supervisor serve
  What systemd starts, with room for four jobs at once:
    supervisor serve --workers auto --jobs-max 4
  On the network, behind a token and TLS:
    supervisor serve --listen 0.0.0.0:8443 --token-file /etc/muster/token \\
      --tls-cert /etc/muster/cert.pem --tls-key /etc/muster/key.pem
  For jobs that read this machine's files:
    supervisor serve --allow-path /srv/pages

Jobs are kept in the state directory until they are done, whatever happens
meanwhile. SIGTERM: jobs finish what is in flight and go on at the next start; a
second one: stop at once. SIGHUP: read settings, certificates and token again, and
replace all workers, one at a time. SIGTTIN, SIGTTOU: one worker more, one less."
);

pub(super) const COMPLETIONS: &str = "\
Examples:
  supervisor completions bash > /etc/bash_completion.d/supervisor
  supervisor completions zsh > ~/.zfunc/_supervisor
  supervisor completions fish > ~/.config/fish/completions/supervisor.fish";

pub(super) const MAN: &str = "\
Examples:
  supervisor man /usr/local/share/man/man1";
