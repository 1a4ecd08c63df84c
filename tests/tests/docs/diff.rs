//! Compares what a page shows with what came, and shows the difference.
//!
//! In a shown line `…` stands for anything; a line of `…` alone stands for any
//! number of lines.

const ANYTHING: char = '…';

/// Units a number may have: their choice depends on the number.
const UNITS: [&str; 12] = ["ms", "µs", "min", "kB", "MB", "GB", "s", "h", "B", "×", "%", "d"];

/// The difference, line by line, or `None` when what came is what is shown.
pub(crate) fn diff(shown: &[String], came: &[String], numbers_vary: bool) -> Option<String> {
    let same = |shown: &str, came: &str| {
        if numbers_vary { matches(&blurred(shown), &blurred(came)) } else { matches(shown, came) }
    };
    let costs = costs(shown, came, &same);
    if costs[0][0] == 0 {
        return None;
    }
    let (mut i, mut j, mut text) = (0, 0, String::new());
    let mut line = |mark: char, line: &str| text.push_str(&format!("{mark} {line}\n"));
    while i < shown.len() || j < came.len() {
        let here = costs[i][j];
        if i < shown.len() && is_gap(&shown[i]) {
            if costs[i + 1][j] == here {
                i += 1;
            } else {
                line(' ', &came[j]);
                j += 1;
            }
        } else if i < shown.len()
            && j < came.len()
            && same(&shown[i], &came[j])
            && costs[i + 1][j + 1] == here
        {
            line(' ', &came[j]);
            (i, j) = (i + 1, j + 1);
        } else if i < shown.len() && costs[i + 1][j] + 1 == here {
            line('-', &shown[i]);
            i += 1;
        } else {
            line('+', &came[j]);
            j += 1;
        }
    }
    Some(text)
}

fn is_gap(line: &str) -> bool {
    line.trim().chars().eq([ANYTHING])
}

/// `costs[i][j]`: lines to remove or add to make `shown[i..]` be `came[j..]`.
fn costs(shown: &[String], came: &[String], same: &dyn Fn(&str, &str) -> bool) -> Vec<Vec<usize>> {
    let mut costs = vec![vec![0_usize; came.len() + 1]; shown.len() + 1];
    for i in (0..=shown.len()).rev() {
        for j in (0..=came.len()).rev() {
            let without_shown = (i < shown.len()).then(|| costs[i + 1][j]);
            let without_came = (j < came.len()).then(|| costs[i][j + 1]);
            let gap = i < shown.len() && is_gap(&shown[i]);
            let step = usize::from(!gap);
            let both = (i < shown.len() && j < came.len() && !gap && same(&shown[i], &came[j]))
                .then(|| costs[i + 1][j + 1]);
            let removed = [without_shown, without_came].into_iter().flatten().map(|cost| cost + step);
            costs[i][j] = removed.chain(both).min().unwrap_or(0);
        }
    }
    costs
}

/// Whether `came` is `pattern` with something in place of each `…`.
fn matches(pattern: &str, came: &str) -> bool {
    let (pattern, came) = (pattern.trim_end(), came.trim_end());
    let mut parts = pattern.split(ANYTHING);
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = came.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

/// The line with every number and its unit as `#`, and no more than one space in a row.
fn blurred(line: &str) -> String {
    let mut words: Vec<String> = Vec::new();
    for word in line.split_whitespace() {
        let word = numbers_blurred(word);
        let unit = UNITS.contains(&word.trim_end_matches(','));
        match words.last_mut() {
            Some(number) if unit && number.ends_with('#') => {
                number.push_str(if word.ends_with(',') { "," } else { "" });
            }
            _ => words.push(word),
        }
    }
    words.join(" ")
}

fn numbers_blurred(word: &str) -> String {
    let mut blurred = String::new();
    let mut chars = word.chars().peekable();
    while let Some(char) = chars.next() {
        if !char.is_ascii_digit() {
            blurred.push(char);
            continue;
        }
        blurred.push('#');
        let mut last = char;
        while let Some(more) = chars.next_if(|c| c.is_ascii_digit() || matches!(c, '.' | ',' | '×')) {
            last = more;
        }
        // A comma at the end is the sentence's.
        if last == ',' {
            blurred.push(',');
        }
    }
    blurred
}

#[cfg(test)]
fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}

#[test]
fn wildcards_match_within_a_line_and_over_lines() {
    let check = |shown: &str, came: &str, numbers_vary, same| {
        let found = diff(&lines(shown), &lines(came), numbers_vary);
        assert_eq!(found.is_none(), same, "{shown:?} {came:?}: {found:?}");
    };
    check("a", "a", false, true);
    check("a", "b", false, false);
    check("a", "", false, false);
    check("", "a", false, false);
    check("took … ms", "took 1.5 ms", false, true);
    check("…b…", "aba", false, true);
    check("a…a", "a", false, false);
    check("…", "", false, true);
    check("a\n…\nz", "a\nb\nc\nz", false, true);
    check("a\n…\nz", "a\nb\nc", false, false);
    check("a\n…", "b", false, false);
    check("done 10,000 in 2.6 s, 3,831 a second", "done 5 in 9 ms, 17 a second", true, true);
    check(" both   2 × 64  1.04 s  19×", " both  2 × 64   9 ms  1×", true, true);
    check("1 failed", "1 ok", true, false);
    check("1 failed", "2 failed", false, false);
}

#[test]
fn a_difference_shows_what_is_the_same_around_it() {
    let found = diff(&lines("a\nb\n…\ny\nz"), &lines("a\nc\n1\n2\ny\nz"), false).unwrap();
    assert_eq!(found, "  a\n- b\n  c\n  1\n  2\n  y\n  z\n");
    let found = diff(&lines("a\nb"), &lines("a\nc\nb"), false).unwrap();
    assert_eq!(found, "  a\n+ c\n  b\n");
}
