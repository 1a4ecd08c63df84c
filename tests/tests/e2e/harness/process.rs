//! What `ps` would show.

use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A process as it was found; its start time tells it from a later one with the same id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) id: i32,
    pub(crate) parent: i32,
    pub(crate) name: String,
    started: u64,
    cpu_ticks: u64,
    state: char,
}

impl Process {
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(self.id)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    /// The same, if it has not ended meanwhile.
    pub(crate) fn try_signal(&self, signal: Signal) {
        if self.is_alive() {
            // It may end between the look and the signal.
            let _ = kill(self.pid(), signal);
        }
    }

    /// CPU time it has used, in hundredths of a second.
    pub(crate) fn cpu_ticks(&self) -> u64 {
        read(self.id).map_or(0, |now| now.cpu_ticks)
    }

    fn is_dead(&self) -> bool {
        matches!(self.state, 'Z' | 'X')
    }

    /// Whether it still runs; one that nobody has reaped yet does not.
    pub(crate) fn is_alive(&self) -> bool {
        read(self.id).is_some_and(|now| now.started == self.started && !now.is_dead())
    }
}

/// The living direct children of a process.
pub(crate) fn children(parent: i32) -> Vec<Process> {
    all_children(parent).filter(|process| !process.is_dead()).collect()
}

/// How many direct children of a process are dead and not reaped.
pub(crate) fn zombies(parent: i32) -> usize {
    all_children(parent).filter(Process::is_dead).count()
}

fn all_children(parent: i32) -> impl Iterator<Item = Process> {
    let processes = fs::read_dir("/proc").unwrap();
    processes
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(read)
        .filter(move |process| process.parent == parent)
}

fn read(id: i32) -> Option<Process> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The name stands in parentheses and may hold anything, parentheses included.
    let (head, tail) = stat.rsplit_once(')')?;
    let name = head.split_once('(')?.1.to_owned();
    let mut fields = tail.split_whitespace();
    let state = fields.next()?.chars().next()?;
    let parent = fields.next()?.parse().ok()?;
    // Counted as in proc(5), where the state is field 3: user and system time, and the start.
    let field = |number: usize| fields.clone().nth(number - 5)?.parse::<u64>().ok();
    let (cpu_ticks, started) = (field(14)? + field(15)?, field(22)?);
    Some(Process { id, parent, name, started, cpu_ticks, state })
}
