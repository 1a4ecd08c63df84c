//! The black box: one page of memory that records what a worker is doing, and so what it was doing
//! when it died.
//!
//! The supervisor creates it, the worker inherits it as standard input, and both map it. The worker
//! writes with plain atomic stores (nanoseconds, no system call). The supervisor can read it at any
//! time, even after the worker is gone. The page is sealed: a worker with a memory error can write
//! garbage into it but cannot remove it.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use memmap2::{MmapOptions, MmapRaw};
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use serde::{Deserialize, Serialize};

use crate::clock::Resident;

/// Size of the mapping: one page on every supported platform.
const PAGE_BYTES: usize = 4096;

/// Means "no target" in the page; input positions never reach this value.
const NO_TARGET: u64 = u64::MAX;

/// What a worker is doing, as far as blame is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Waiting for work or for the network; a death here is no target's fault.
    Idle,
    /// Fetching: a blocking request, or one poll of a request on an event loop, decompression included.
    Fetch,
    /// Reading a file, decoding a page, extracting its fields.
    Extract,
    /// Encoding the record.
    Encode,
}

impl Phase {
    const ALL: [Self; 4] = [Self::Idle, Self::Fetch, Self::Extract, Self::Encode];

    /// The name used in evidence.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Fetch => "fetch",
            Self::Extract => "extract",
            Self::Encode => "encode",
        }
    }

    const fn code(self) -> u64 {
        match self {
            Self::Idle => 0,
            Self::Fetch => 1,
            Self::Extract => 2,
            Self::Encode => 3,
        }
    }

    // A crashed worker may have written anything. Unknown codes become `Idle`, which blames no
    // target.
    fn from_code(code: u64) -> Self {
        Self::ALL.into_iter().find(|phase| phase.code() == code).unwrap_or(Self::Idle)
    }
}

/// The contents of the page at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// Grows with every step of the worker. If it stands still while the worker holds targets, the
    /// worker hangs.
    pub progress: u64,
    /// The target whose stage is running, if any.
    pub target: Option<u64>,
    /// `CLOCK_MONOTONIC` in microseconds when that stage began.
    pub since_us: u64,
    /// The current phase.
    pub phase: Phase,
    /// Resident set in bytes, when last written.
    pub rss_bytes: u64,
    /// Largest resident set so far in bytes, when last written.
    pub rss_bytes_max: u64,
    /// CPU time used so far in microseconds, when last written.
    pub cpu_us: u64,
    /// Targets begun and not yet finished.
    pub in_flight: u64,
    /// Bytes read so far of a long-running target, in runs that count progress in bytes.
    pub bytes: u64,
    /// Targets that wait for something this machine has run out of: a descriptor, a port.
    pub waiting: u64,
}

/// Where the list of begun targets starts in the page, in words. The words before it are those of [`Word`].
const BEGUN_FIRST: usize = 16;

/// Length of that list: the rest of the page.
const BEGUN_MAX: usize = PAGE_BYTES / size_of::<u64>() - BEGUN_FIRST;

/// Targets that a process had begun and not reported, if it noted them: something of them may have been sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begun {
    /// These.
    Some(Vec<u64>),
    /// More than the page can name: any that it had.
    Any,
}

impl Default for Begun {
    fn default() -> Self {
        Self::Some(Vec::new())
    }
}

impl Begun {
    /// Whether this target is one of them.
    #[must_use]
    pub fn contains(&self, id: u64) -> bool {
        match self {
            Self::Some(ids) => ids.contains(&id),
            Self::Any => true,
        }
    }
}

#[repr(usize)]
#[derive(Clone, Copy)]
enum Word {
    Progress,
    Target,
    Since,
    Phase,
    Rss,
    RssMax,
    Cpu,
    InFlight,
    Bytes,
    Waiting,
    /// Whether begun targets are noted: 0 if not, 1 if so, 2 if there was no room for all.
    NotesBegun,
}

/// One process's mapping of the page.
#[derive(Debug)]
pub struct BlackBox {
    map: MmapRaw,
}

impl BlackBox {
    /// Creates a new page and maps it. The descriptor is for the worker.
    ///
    /// # Errors
    /// If the kernel refuses the memfd, its size, its seals or the mapping.
    pub fn create() -> io::Result<(Self, OwnedFd)> {
        let fd = memfd_create("muster-black-box", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?;
        let file = File::from(fd);
        file.set_len(PAGE_BYTES as u64)?;
        // Without the seals a worker could shrink the file under the supervisor's mapping, and the
        // next read would raise SIGBUS in the supervisor.
        let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
        fcntl(file.as_fd(), FcntlArg::F_ADD_SEALS(seals))?;
        let black_box = Self::map(&file)?;
        black_box.word(Word::Target).store(NO_TARGET, Ordering::Relaxed);
        Ok((black_box, file.into()))
    }

    /// Maps a page that another process created.
    ///
    /// # Errors
    /// If `file` is not such a page or cannot be mapped.
    pub fn open(file: &File) -> io::Result<Self> {
        if file.metadata()?.len() != PAGE_BYTES as u64 {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "not a black box: its size is not one page",
            ));
        }
        Self::map(file)
    }

    fn map(file: &File) -> io::Result<Self> {
        Ok(Self { map: MmapOptions::new().len(PAGE_BYTES).map_raw(file)? })
    }

    fn word(&self, word: Word) -> &AtomicU64 {
        self.at(word as usize)
    }

    /// The words that list the begun targets: an id and one, or 0 if free.
    fn begun_words(&self) -> impl Iterator<Item = &AtomicU64> {
        (0..BEGUN_MAX).map(|nth| self.at(BEGUN_FIRST + nth))
    }

    #[expect(unsafe_code, reason = "the page is shared memory; atomics over it are the whole point")]
    fn at(&self, index: usize) -> &AtomicU64 {
        let pointer = self.map.as_mut_ptr().cast::<u64>();
        let index = index.min(BEGUN_FIRST + BEGUN_MAX - 1);
        // SAFETY: the mapping is PAGE_BYTES long, page-aligned and lives as long as
        // `self`; the index is below its end; both processes touch it only
        // through atomics, for which any bit pattern is valid.
        unsafe { AtomicU64::from_ptr(pointer.add(index)) }
    }

    /// Worker: a stage of `target` begins.
    pub fn enter(&self, target: u64, phase: Phase, now_us: u64) {
        self.word(Word::Since).store(now_us, Ordering::Relaxed);
        self.word(Word::Phase).store(phase.code(), Ordering::Relaxed);
        // Stored last, so that a reader who sees the target also sees its phase.
        self.word(Word::Target).store(target, Ordering::Release);
        self.advance();
    }

    /// Worker: something of this target may be sent from now on.
    pub fn begin(&self, target: u64) {
        let entry = target.wrapping_add(1);
        let notes = self.word(Word::NotesBegun);
        let take =
            |word: &AtomicU64| word.compare_exchange(0, entry, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        if self.begun_words().any(take) {
            notes.fetch_max(1, Ordering::Release);
        } else {
            notes.store(2, Ordering::Release);
        }
    }

    /// Worker: these targets are reported. Each is taken off the list once, because it may have begun again by now.
    pub fn reported(&self, targets: impl Iterator<Item = u64>) {
        for target in targets {
            let entry = target.wrapping_add(1);
            let free = |word: &AtomicU64| {
                word.compare_exchange(entry, 0, Ordering::AcqRel, Ordering::Relaxed).is_ok()
            };
            self.begun_words().any(free);
        }
    }

    /// Whether begun targets are noted.
    #[must_use]
    pub fn notes_begun(&self) -> bool {
        self.word(Word::NotesBegun).load(Ordering::Relaxed) > 0
    }

    /// Supervisor: reads which targets had begun.
    #[must_use]
    pub fn begun(&self) -> Begun {
        match self.word(Word::NotesBegun).load(Ordering::Acquire) {
            0 => Begun::default(),
            1 => {
                let entries = self.begun_words().map(|word| word.load(Ordering::Acquire));
                Begun::Some(entries.filter(|entry| *entry > 0).map(|entry| entry - 1).collect())
            }
            _ => Begun::Any,
        }
    }

    /// Worker: no stage is running any more.
    pub fn leave(&self) {
        self.word(Word::Target).store(NO_TARGET, Ordering::Release);
        self.word(Word::Phase).store(Phase::Idle.code(), Ordering::Relaxed);
        self.advance();
    }

    /// Worker: one more step is done.
    pub fn advance(&self) {
        self.word(Word::Progress).fetch_add(1, Ordering::Relaxed);
    }

    /// Worker: sets the number of targets begun and not finished.
    pub fn set_in_flight(&self, targets: u64) {
        self.word(Word::InFlight).store(targets, Ordering::Relaxed);
    }

    /// Worker: sets how many bytes of the running target have been read.
    pub fn set_bytes(&self, bytes: u64) {
        self.word(Word::Bytes).store(bytes, Ordering::Relaxed);
    }

    /// Worker: sets how many targets wait for something this machine has run out of.
    pub fn set_waiting(&self, targets: u64) {
        self.word(Word::Waiting).store(targets, Ordering::Relaxed);
    }

    /// Worker: sets the resources used so far.
    pub fn set_usage(&self, rss: Resident, cpu: Duration) {
        self.word(Word::Rss).store(rss.now_bytes, Ordering::Relaxed);
        self.word(Word::RssMax).store(rss.max_bytes, Ordering::Relaxed);
        let cpu_us = u64::try_from(cpu.as_micros()).unwrap_or(u64::MAX);
        self.word(Word::Cpu).store(cpu_us, Ordering::Relaxed);
    }

    /// Supervisor: reads the page.
    #[must_use]
    pub fn read(&self) -> Reading {
        let target = self.word(Word::Target).load(Ordering::Acquire);
        let load = |word| self.word(word).load(Ordering::Relaxed);
        Reading {
            progress: load(Word::Progress),
            target: (target != NO_TARGET).then_some(target),
            since_us: load(Word::Since),
            phase: Phase::from_code(load(Word::Phase)),
            rss_bytes: load(Word::Rss),
            rss_bytes_max: load(Word::RssMax),
            cpu_us: load(Word::Cpu),
            in_flight: load(Word::InFlight),
            bytes: load(Word::Bytes),
            waiting: load(Word::Waiting),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_side_reads_what_the_other_wrote() {
        let (supervisor, fd) = BlackBox::create().unwrap();
        assert_eq!(supervisor.read().target, None);
        let worker = BlackBox::open(&File::from(fd)).unwrap();
        worker.enter(7, Phase::Extract, 99);
        worker.set_usage(Resident { now_bytes: 4096, max_bytes: 8192 }, Duration::from_micros(12));
        let reading = supervisor.read();
        assert_eq!((reading.target, reading.since_us, reading.phase), (Some(7), 99, Phase::Extract));
        assert_eq!((reading.rss_bytes, reading.rss_bytes_max), (4096, 8192));
        assert_eq!((reading.cpu_us, reading.progress), (12, 1));
        worker.leave();
        assert_eq!((supervisor.read().target, supervisor.read().phase), (None, Phase::Idle));
    }

    #[test]
    fn begun_targets_are_listed_until_they_are_reported() {
        let (supervisor, fd) = BlackBox::create().unwrap();
        let worker = BlackBox::open(&File::from(fd)).unwrap();
        assert!(!worker.notes_begun() && !supervisor.begun().contains(0));
        for target in [0, 7, 9, 7] {
            worker.begin(target);
        }
        worker.reported([7, 0, 5].into_iter());
        assert_eq!(supervisor.begun(), Begun::Some(vec![9, 7]));
        let many = u64::try_from(BEGUN_MAX).unwrap();
        (0..many).for_each(|target| worker.begin(100 + target));
        assert!(worker.notes_begun() && supervisor.begun() == Begun::Any);
    }

    #[test]
    fn the_page_cannot_be_shrunk_under_the_supervisor() {
        let (_supervisor, fd) = BlackBox::create().unwrap();
        assert!(File::from(fd).set_len(0).is_err());
    }

    #[test]
    fn a_page_of_the_wrong_size_is_refused() {
        assert!(BlackBox::open(&File::open("/dev/null").unwrap()).is_err());
    }
}
