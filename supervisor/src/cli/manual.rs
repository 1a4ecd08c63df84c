//! Completion scripts and man pages, generated from the same definitions as `--help`.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use clap::Command;
use clap_complete::Shell;

/// Writes a completion script for `shell` to `out`.
///
/// # Errors
/// If writing to `out` fails.
pub(crate) fn write_completions(shell: Shell, out: &mut dyn Write) -> io::Result<()> {
    // The generator panics when its writer fails, and `| head` makes stdout fail.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut super::definitions(), "supervisor", &mut script);
    out.write_all(&script)
}

/// Writes one man page per command into `dir`, and creates `dir` if it does not exist.
///
/// # Errors
/// If the directory or a page cannot be written.
pub(crate) fn write_man_pages(dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    let mut root = super::definitions().disable_help_subcommand(true);
    root.build();
    write_pages(&root, dir)
}

fn write_pages(command: &Command, dir: &Path) -> io::Result<()> {
    for below in command.get_subcommands() {
        write_pages(below, dir)?;
    }
    let page = clap_mangen::Man::new(command.clone())
        .manual("Muster")
        .source(concat!("muster ", env!("CARGO_PKG_VERSION")));
    page.generate_to(dir).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("made/here");
        write_man_pages(&dir).unwrap();
        let mut pages: Vec<String> = fs::read_dir(&dir)
            .unwrap()
            .map(|page| page.unwrap().file_name().into_string().unwrap())
            .collect();
        pages.sort();
        assert_eq!(
            pages,
            [
                "supervisor-advise-fetch.1",
                "supervisor-advise-parse.1",
                "supervisor-advise.1",
                "supervisor-cancel.1",
                "supervisor-compare-fetch.1",
                "supervisor-compare-parse.1",
                "supervisor-compare.1",
                "supervisor-completions.1",
                "supervisor-crawl.1",
                "supervisor-csv.1",
                "supervisor-fetch.1",
                "supervisor-jobs-pause.1",
                "supervisor-jobs-remove.1",
                "supervisor-jobs-resume.1",
                "supervisor-jobs-retry-failed.1",
                "supervisor-jobs.1",
                "supervisor-man.1",
                "supervisor-map.1",
                "supervisor-parse.1",
                "supervisor-results.1",
                "supervisor-serve.1",
                "supervisor-status.1",
                "supervisor-submit-crawl.1",
                "supervisor-submit-csv.1",
                "supervisor-submit-fetch.1",
                "supervisor-submit-map.1",
                "supervisor-submit-parse.1",
                "supervisor-submit.1",
                "supervisor.1",
            ]
        );
        let fetch = fs::read_to_string(dir.join("supervisor-fetch.1")).unwrap();
        for text in ["per\\-host", "workers", "MUSTER_PER_HOST", "rows | supervisor fetch"] {
            assert!(fetch.contains(text), "{text}: {fetch}");
        }
    }

    #[test]
    fn every_shell_gets_a_script() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish, Shell::Elvish, Shell::PowerShell] {
            let mut script = Vec::new();
            write_completions(shell, &mut script).unwrap();
            assert!(String::from_utf8(script).unwrap().contains("per-host"), "{shell}");
        }
    }

    #[test]
    fn a_closed_pipe_is_an_error_and_no_panic() {
        let (reader, mut writer) = io::pipe().unwrap();
        drop(reader);
        let error = write_completions(Shell::Bash, &mut writer).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }
}
