//! On a terminal there is a live bar, and Ctrl-C means what it says.

use crate::harness::{Dir, Origin, Terminal, TestCommand, by_id, fetch, parse_lines};

fn slow_run(origin: &Origin, dir: &Dir, mode: &str, count: u32) -> TestCommand {
    let list: String =
        (0..count).map(|n| format!("{}\n", origin.url(&format!("/counted/{n}?delay=0.1")))).collect();
    let list = dir.write("urls.txt", list);
    fetch().args(["--mode", mode, "--concurrency", "4", "-o"]).arg(dir.path("out.jsonl")).arg("-i").arg(list)
}

/// Whether `text` sets a colour.
fn is_coloured(text: &str) -> bool {
    // An SGR sequence ends in `m`; moving and clearing end in other letters.
    text.split("\u{1b}[").skip(1).any(|rest| {
        let end = rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';');
        end.starts_with('m') && !rest.starts_with("0m") && !rest.starts_with('m')
    })
}

/// What is left to see in the end: of each line, what was written after it was last cleared.
fn screen(text: &str) -> String {
    let mut left = String::new();
    for line in text.split_inclusive('\n') {
        left.push_str(line.rsplit("\u{1b}[2K").next().unwrap());
    }
    left
}

#[test]
fn a_live_bar_counts_and_is_gone_at_the_end() {
    let (origin, dir) = (Origin::start(), Dir::new());
    let terminal = Terminal::start(slow_run(&origin, &dir, "both", 60));
    terminal.running.until("a count", || terminal.running.stderr_so_far().contains("/60").then_some(()));
    let output = terminal.wait().exits(0);
    assert!(
        output.stderr.contains('\r') || output.stderr.contains("\u{1b}["),
        "nothing is redrawn: {output}"
    );
    assert_eq!(output.text(), "");
    let left = screen(&output.stderr);
    assert!(!left.contains("/60"), "the bar is still there: {left}");
    assert!(left.contains("60 in "), "the table is not: {left}");
    assert_eq!(by_id(parse_lines(dir.read("out.jsonl").as_bytes())).len(), 60);
}

#[test]
fn the_bar_can_be_turned_off() {
    let (origin, dir) = (Origin::start(), Dir::new());
    let output =
        Terminal::start(slow_run(&origin, &dir, "both", 30).args(["--progress", "never"])).wait().exits(0);
    // A terminal ends its lines with both.
    let text = output.stderr.replace("\r\n", "\n");
    assert!(!text.contains('\r') && !text.contains("\u{1b}[2K"), "{output}");
}

#[test]
fn no_color_is_honoured() {
    let (origin, dir) = (Origin::start(), Dir::new());
    let output = Terminal::start(slow_run(&origin, &dir, "both", 30).env("NO_COLOR", "1")).wait().exits(0);
    assert!(!is_coloured(&output.stderr), "{output}");
    assert!(is_coloured("\u{1b}[1;32mdone\u{1b}[0m") && !is_coloured("\u{1b}[2K\u{1b}[0m"));
}

/// The terminal sends it to every process of its group; the workers must still finish what they hold.
#[test]
fn ctrl_c_drains() {
    let (origin, dir) = (Origin::start(), Dir::new());
    let mut terminal = Terminal::start(slow_run(&origin, &dir, "both", 2000));
    terminal.running.until("requests", || (origin.stats()["requests"].as_u64() > Some(10)).then_some(()));
    terminal.press("\u{3}");
    let output = terminal.wait().exits(130);
    let records = by_id(parse_lines(dir.read("out.jsonl").as_bytes()));
    assert_eq!(origin.stats()["requests"], records.len(), "{output}");
    output.says(&format!("1,{} inputs left", 1000 - records.len()));
}

#[test]
fn the_choice_of_a_mode_is_explained() {
    let (origin, dir) = (Origin::start(), Dir::new());
    let output = Terminal::start(slow_run(&origin, &dir, "auto", 30)).wait().exits(0);
    assert!(screen(&output.stderr).contains("why"), "{output}");
}

#[test]
fn records_on_a_pipe_do_not_stop_the_bar() {
    let origin = Origin::shared();
    let urls: Vec<_> = (0..30).map(|_| origin.url("/delay/0.3")).collect();
    let terminal = Terminal::start(fetch().args(["--mode", "both", "--concurrency", "4"]).args(&urls));
    terminal.running.until("a count", || terminal.running.stderr_so_far().contains("/30").then_some(()));
    assert_eq!(by_id(terminal.wait().exits(0).records()).len(), 30);
}
