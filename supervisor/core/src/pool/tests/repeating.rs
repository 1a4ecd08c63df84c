//! A page that a host gives for many targets counts as blocked.

use wire::protocol::{PageMark, Reply, Target};

use super::*;
use crate::frontier::HostRef;

const BAN: PageMark = PageMark { hash: 7, challenges: false };
const CAPTCHA: PageMark = PageMark { hash: 8, challenges: true };

/// A pool with one worker and targets of one host, and what became of them.
struct Repeating {
    rig: Rig,
    given: Vec<Target>,
    accepted: Vec<u64>,
    again: Vec<u64>,
    rejected: Vec<RejectedRecord>,
    notices: Vec<String>,
}

impl Repeating {
    fn new(targets: u64, retries: u32) -> Self {
        let mut rig = Rig::new(PoolConfig { concurrency: 64, retries, ..limits() });
        rig.pool = rig.pool.watching_repeats();
        let host = HostRef { name: "a.example", local: false };
        for id in 0..targets {
            let input = format!("http://a.example/{id}").into_bytes();
            assert!(rig.pool.submit(rig.now, id, input, Vec::new(), Some(host)));
        }
        rig.up(seat(0, 1));
        let mut all = Self {
            rig,
            given: Vec::new(),
            accepted: Vec::new(),
            again: Vec::new(),
            rejected: Vec::new(),
            notices: Vec::new(),
        };
        all.listen();
        all
    }

    fn listen(&mut self) {
        for command in self.rig.asked() {
            match command {
                Command::SendSlice(_, slice) => self.given.extend(slice.targets),
                Command::Accept(id) => self.accepted.push(id),
                Command::Reject(rejected) => match rejected.last {
                    Some(last) => self.rejected.push(last),
                    None => self.again.push(rejected.id),
                },
                Command::Notice(notice) => self.notices.push(notice.text),
                Command::Spawn(_)
                | Command::SendJob(_)
                | Command::SendFlush(_)
                | Command::SendDrain(_)
                | Command::Terminate(_)
                | Command::Kill(_)
                | Command::Sample(_)
                | Command::Forget(_)
                | Command::Abandon(_)
                | Command::Quarantine(_)
                | Command::BeginSession(_)
                | Command::LoggedIn(_)
                | Command::LoginFailed(_) => {}
            }
        }
    }

    /// Answers the oldest target with a page. Returns what the pool did with it.
    fn answer(&mut self, page: impl FnOnce(u64) -> PageMark) -> Disposition {
        while self.given.is_empty() {
            self.rig.pass(SECOND, |_| reading(0, None));
            self.listen();
        }
        let id = self.given.remove(0).id;
        let reply =
            Some(Reply { first_byte_us: 1, status: 200, refused: false, requests: 1, page: Some(page(id)) });
        let outcome = Outcome {
            id,
            verdict: Verdict::Ok,
            bytes: 0,
            started_us: 0,
            elapsed_us: 1,
            cpu_us: 0,
            endings: None,
            reply,
            retry_after_ms: None,
            exit_use: None,
            over_budget: false,
            session: None,
            line_bytes: 10,
            found_bytes: 0,
            note_bytes: 0,
        };
        let batch = Batch { slices_read: 0, outcomes: vec![outcome], lines: Vec::new() };
        let mut dispositions = Vec::new();
        self.rig.now += Duration::from_millis(1);
        self.rig.pool.handle_batch(self.rig.now, seat(0, 1), &batch, &mut dispositions);
        self.rig.listen();
        self.listen();
        dispositions[0]
    }

    fn good(&mut self, count: u64) {
        for _ in 0..count {
            assert_eq!(self.answer(own), Disposition::Final);
        }
    }
}

fn own(id: u64) -> PageMark {
    PageMark { hash: 1_000 + id, challenges: false }
}

#[test]
fn pages_that_repeat_are_held_and_then_tried_again() {
    let mut pool = Repeating::new(200, 2);
    pool.good(100);
    assert_eq!(pool.answer(|_| BAN), Disposition::Final, "the first is like any other");
    let held = (0..20).take_while(|_| pool.answer(|_| BAN) == Disposition::Held && pool.again.is_empty());
    assert!((10..=18).contains(&held.count()));
    assert!(pool.again.len() > 10 && pool.accepted.is_empty() && pool.rejected.is_empty());
    assert_eq!(pool.notices.len(), 1);
    assert!(pool.notices[0].starts_with("a.example now answers different URLs with the same page (12"));
    // The host recovers: everything is fetched in the end.
    while pool.rig.pool.counts().left() > 0 {
        assert_eq!(pool.answer(own), Disposition::Final);
    }
    assert_eq!((pool.rejected.len(), &pool.notices[1..]), (0, &[][..]));
}

#[test]
fn a_challenge_is_held_at_first_sight_and_never_accepted() {
    let mut pool = Repeating::new(120, 0);
    pool.good(100);
    for _ in 0..20 {
        assert_eq!(pool.answer(|_| CAPTCHA), Disposition::Held);
        let snapshot = pool.rig.pool.busiest(pool.rig.now, 1);
        assert_eq!(snapshot.is_empty() || snapshot[0].paused.is_some(), !pool.rejected.is_empty());
    }
    assert!(pool.accepted.is_empty() && pool.again.is_empty());
    assert_eq!(pool.rejected.len(), 20);
    let record = &pool.rejected[0];
    assert_eq!((record.input.as_slice(), record.attempts), (&b"http://a.example/100"[..], 1));
    assert!(record.message.contains("same page"), "{}", record.message);
    assert_eq!(pool.rig.pool.counts().done, 120);
}

#[test]
fn pages_that_do_not_repeat_often_are_let_go() {
    // In time.
    let mut pool = Repeating::new(200, 2);
    pool.good(100);
    assert_eq!(pool.answer(|_| CAPTCHA), Disposition::Held);
    assert_eq!(pool.rig.pool.poll_timeout().map(|at| at <= pool.rig.now + 10 * SECOND), Some(true));
    pool.rig.pass(10 * SECOND, |_| reading(0, None));
    pool.listen();
    assert_eq!(pool.accepted, [100]);

    // At the end of all targets.
    let mut pool = Repeating::new(120, 2);
    pool.good(100);
    assert_eq!(pool.answer(|_| CAPTCHA), Disposition::Held);
    pool.good(19);
    pool.rig.tell(Event::SourceEnded);
    pool.listen();
    assert_eq!((&pool.accepted[..], pool.rig.pool.counts().held), (&[100][..], 0));
}

#[test]
fn a_run_that_is_stopped_leaves_what_may_be_a_challenge_to_the_next() {
    let mut pool = Repeating::new(120, 2);
    pool.good(100);
    assert_eq!(pool.answer(|_| CAPTCHA), Disposition::Held);
    pool.rig.tell(Event::Drain);
    pool.listen();
    assert_eq!((pool.accepted.len(), &pool.again[..]), (0, &[100][..]));
    assert_eq!(pool.rig.pool.counts().held, 0);
}

#[test]
fn without_marks_or_if_not_wanted_nothing_is_held() {
    let mut pool = Repeating::new(200, 2);
    pool.rig.pool.repeats = None;
    pool.good(100);
    assert!((0..50).all(|_| pool.answer(|_| BAN) == Disposition::Final));
}
