//! The fenced blocks of a page.
//!
//! In a `console` block, a line that begins with `$ ` is a command, lines that
//! begin with `> ` directly after it belong to it, and the rest is what it
//! prints. `console numbers-vary` says that numbers are measurements of one
//! machine: any other number will do in their place.

/// What happens to a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Its commands are run, its output compared.
    Run,
    /// It is only looked at.
    Shown,
}

/// One command and what the page says it prints.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// Line of the page, from 1.
    pub(crate) line: usize,
    pub(crate) command: String,
    pub(crate) output: Vec<String>,
}

/// A fenced block.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) kind: Kind,
    pub(crate) numbers_vary: bool,
    pub(crate) steps: Vec<Step>,
}

/// The blocks of a page in order, or what is wrong with one, after its line's number.
pub(crate) fn blocks(text: &str) -> Result<Vec<Block>, String> {
    let mut blocks = Vec::new();
    let mut lines = text.lines().enumerate().map(|(index, line)| (index + 1, line));
    while let Some((at, line)) = lines.next() {
        let Some(mark) = line.trim_start().strip_prefix("```") else { continue };
        let indent = line.len() - line.trim_start().len();
        let mut body = Vec::new();
        loop {
            match lines.next() {
                Some((_, line)) if line.trim() == "```" => break,
                Some((number, line)) => body.push((number, line.get(indent..).unwrap_or_default())),
                None => return Err(format!("{at}: this block does not end")),
            }
        }
        blocks.push(block(mark, &body).map_err(|problem| format!("{at}: {problem}"))?);
    }
    Ok(blocks)
}

fn block(mark: &str, body: &[(usize, &str)]) -> Result<Block, String> {
    let shown = Block { kind: Kind::Shown, numbers_vary: false, steps: Vec::new() };
    match mark {
        "text" => Ok(shown),
        "json" => {
            let text: String = body.iter().map(|(_, line)| format!("{line}\n")).collect();
            let values = serde_json::Deserializer::from_str(&text).into_iter::<serde_json::Value>();
            values.collect::<Result<Vec<_>, _>>().map_err(|error| format!("not JSON: {error}"))?;
            Ok(shown)
        }
        "console" | "console numbers-vary" => {
            Ok(Block { kind: Kind::Run, numbers_vary: mark != "console", steps: steps(body)? })
        }
        other => Err(format!(
            "a block is `console` (run), `console numbers-vary` (run), `text` or `json` (not run), not {other:?}"
        )),
    }
}

fn steps(body: &[(usize, &str)]) -> Result<Vec<Step>, String> {
    let mut steps: Vec<Step> = Vec::new();
    for (number, line) in body {
        if let Some(command) = line.strip_prefix("$ ") {
            steps.push(Step { line: *number, command: command.to_owned(), output: Vec::new() });
            continue;
        }
        let Some(step) = steps.last_mut() else {
            return Err("it begins with output: its first line should begin with `$ `".to_owned());
        };
        match line.strip_prefix("> ").or_else(|| line.strip_prefix('>')) {
            Some(more) if step.output.is_empty() => {
                step.command.push('\n');
                step.command.push_str(more);
            }
            _ => step.output.push((*line).to_owned()),
        }
    }
    Ok(steps)
}

#[test]
fn a_session_is_cut_into_commands_and_their_output() {
    let step = |line, command: &str, output: &[&str]| Step {
        line,
        command: command.to_owned(),
        output: output.iter().map(|&line| line.to_owned()).collect(),
    };
    let page = "text\n  ```console\n  $ cat <<END\n  > a\n  >\n  > END\n  a\n\n  $ true\n  ```\n```text\n$ no\n```\n";
    let parsed = blocks(page).unwrap();
    assert_eq!(parsed[0].steps, [step(3, "cat <<END\na\n\nEND", &["a", ""]), step(9, "true", &[])]);
    assert_eq!(parsed[1].kind, Kind::Shown);
    for (page, problem) in [
        ("\n```sh\nls\n```\n", "2: a block is"),
        ("```\nls\n```\n", "1: a block is"),
        ("```console\nls\n```\n", "begins with output"),
        ("```console\n$ ls\n", "does not end"),
        ("```json\n{\"a\":}\n```\n", "not JSON"),
    ] {
        let found = blocks(page).unwrap_err();
        assert!(found.contains(problem), "{page:?}: {found}");
    }
}
