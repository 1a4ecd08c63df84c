use std::sync::{Arc, Mutex};

use indicatif::TermLike;

use super::*;

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Captured {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// As much of a terminal as a bar needs: lines, and a cursor that goes up and down.
#[derive(Debug, Clone)]
struct FakeTerminal {
    width: u16,
    lines: Arc<Mutex<(usize, Vec<String>)>>,
}

impl FakeTerminal {
    fn new(width: u16) -> Self {
        Self { width, lines: Arc::new(Mutex::new((0, vec![String::new(); 50]))) }
    }

    fn shown(&self) -> Vec<String> {
        let lines = self.lines.lock().unwrap();
        lines.1.iter().map(|line| line.trim_end().to_owned()).filter(|line| !line.is_empty()).collect()
    }

    fn with(&self, act: impl FnOnce(&mut usize, &mut Vec<String>)) -> io::Result<()> {
        let (row, lines) = &mut *self.lines.lock().unwrap();
        act(row, lines);
        Ok(())
    }
}

impl TermLike for FakeTerminal {
    fn width(&self) -> u16 {
        self.width
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        self.with(|row, _| *row = row.saturating_sub(n))
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        self.with(|row, _| *row += n)
    }

    fn move_cursor_right(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_left(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.write_str(text)?;
        self.move_cursor_down(1)
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        self.with(|row, lines| lines[*row].push_str(text))
    }

    fn clear_line(&self) -> io::Result<()> {
        self.with(|row, lines| lines[*row].clear())
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}

fn at(done: u64) -> Snapshot {
    Snapshot {
        done,
        failed: 1,
        refused: 0,
        load: None,
        proxies_failing: 0,
        bytes: done * 1_000,
        in_flight: 8,
        total: Total::Exact(1_000),
    }
}

#[test]
fn a_log_gets_a_plain_line_every_two_seconds_and_one_at_the_end() {
    let (out, start) = (Captured::default(), shared::clock::now());
    let mut progress = Progress::with(DisplayMode::Plain, Box::new(out.clone()));
    for tenth in 0..=45_u32 {
        progress.tick(start + Duration::from_millis(100) * tenth, &at(u64::from(tenth) * 10));
    }
    progress.message("worker 1 restarted");
    progress.finish(start + Duration::from_secs(5), &at(500));
    progress.tick(start + Duration::from_secs(9), &at(600));
    assert_eq!(
        out.text(),
        "200/1,000  100/s  100 kB/s  1 failed  8 in flight  8 s left\n\
         400/1,000  100/s  100 kB/s  1 failed  8 in flight  6 s left\n\
         worker 1 restarted\n\
         500/1,000  100/s  100 kB/s  1 failed  8 in flight  5 s left\n"
    );
}

#[test]
fn silence_stays_silent_but_for_messages() {
    let (out, now) = (Captured::default(), shared::clock::now());
    let mut progress = Progress::with(DisplayMode::Off, Box::new(out.clone()));
    progress.tick(now, &at(1));
    assert_eq!((progress.due(now), progress.is_shown()), (None, false));
    progress.message("evil \x1b[2J\x07 text");
    progress.finish(now, &at(2));
    assert_eq!(out.text(), "evil \u{fffd}[2J\u{fffd} text\n");
}

#[test]
fn the_face_follows_the_flag_and_the_terminal() {
    let terminal = Screen { is_terminal: true, width: 80, colour: true };
    for (when, screen, shown) in [
        (When::Never, terminal, false),
        (When::Auto, terminal, true),
        (When::Always, terminal, true),
        (When::Auto, Screen::plain(80), false),
        (When::Always, Screen::plain(80), true),
    ] {
        assert_eq!(Progress::new(when, screen).is_shown(), shown, "{when:?} {screen:?}");
    }
}

#[test]
fn the_bar_draws_one_line_at_any_width_and_clears_itself() {
    for width in [20_u16, 40, 71, 72, 100, 140] {
        let terminal = FakeTerminal::new(width);
        let target = ProgressDrawTarget::term_like(Box::new(terminal.clone()));
        let bar = ProgressBar::with_draw_target(None, target);
        let now = shared::clock::now();
        for total in [Total::Exact(1_000), Total::About(1_000), Total::Unknown] {
            let snapshot = Snapshot { total, ..at(431) };
            draw_bar(&bar, &Line::new(&snapshot, 100.0, 1e5), &snapshot, width);
            let shown = terminal.shown();
            let [line] = shown.as_slice() else { panic!("{width}: {shown:?}") };
            assert!(line.contains("431") && line.chars().count() <= usize::from(width), "{width}: {line}");
            assert_eq!(line.contains("43%"), width >= BAR_FROM_WIDTH && total != Total::Unknown, "{line}");
        }
        let mut progress = Progress::with(DisplayMode::Bar(bar), Box::new(Captured::default()));
        progress.finish(now, &at(1_000));
        assert_eq!(terminal.shown(), Vec::<String>::new());
    }
}

#[test]
fn drawing_is_limited_to_ten_a_second() {
    let mut progress = Progress::with(
        DisplayMode::Bar(ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden())),
        Box::new(io::sink()),
    );
    let start = shared::clock::now();
    let mut drawn = 0;
    for milli in 0..1_000_u32 {
        let now = start + Duration::from_millis(1) * milli;
        drawn += u32::from(progress.due(now).is_some_and(|due| due <= now));
        progress.tick(now, &at(u64::from(milli)));
    }
    assert_eq!(drawn, 10);
}

#[test]
fn a_total_is_guessed_from_the_bytes_read() {
    for (targets, read, size, expected) in [
        (100, 1_000, Some(10_000), Total::About(1_000)),
        (100, 2_000, Some(1_000), Total::About(100)),
        (0, 0, Some(10_000), Total::Unknown),
        (100, 1_000, None, Total::Unknown),
        (u64::MAX, 1, Some(u64::MAX), Total::About(u64::MAX)),
    ] {
        assert_eq!(Total::estimate(targets, read, size), expected);
    }
}
