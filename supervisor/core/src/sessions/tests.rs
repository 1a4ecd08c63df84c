use super::*;

/// A site: its sessions last for so many pages, and some pages are never shown.
struct Site {
    lasts: u32,
    left: u32,
    forbidden: fn(u64) -> bool,
    /// Pages that anybody sees, and those that log the account out.
    public: fn(u64) -> bool,
    logout: fn(u64) -> bool,
    /// Whether the page that the user has named exists.
    has_control: bool,
    /// Whether logins succeed.
    is_good: bool,
    requests: u64,
}

/// The id of the page that the user has named.
const NAMED: u64 = u64::MAX;

impl Site {
    fn shows(&mut self, id: u64) -> bool {
        self.requests += 1;
        if (self.public)(id) {
            return true;
        }
        if (self.logout)(id) {
            self.left = 0;
        }
        if self.left == 0 || (self.forbidden)(id) {
            return false;
        }
        self.left -= 1;
        true
    }
}

/// What became of the pages of a job.
#[derive(Debug, Default, PartialEq, Eq)]
struct Ended {
    ok: Vec<u64>,
    refused: Vec<u64>,
    counts: LoginCounts,
    requests: u64,
    gave_up: bool,
}

/// Runs a job of `pages` with `lanes` pages in flight; answers come in any order.
fn run(controls: Controls, site: &mut Site, pages: u64, lanes: usize, seed: u64) -> Ended {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut sessions = Sessions::new(0, false, controls);
    let mut waiting: Vec<u64> = (0..pages).rev().collect();
    let mut control = NAMED;
    let mut ended = Ended::default();
    // Answers under way: the page, the session it was asked in, and whether it looks logged in.
    let mut flying: Vec<(u64, u32, bool)> = Vec::new();
    let mut step = Step::Stay;
    for turn in 0.. {
        assert!(turn < 1_000_000, "seed {seed}: it never ends");
        match std::mem::replace(&mut step, Step::Stay) {
            Step::LogIn => {
                let number = sessions.number();
                site.left = if site.is_good { site.lasts } else { 0 };
                step = sessions.ended(number, site.is_good);
                continue;
            }
            Step::Check => {
                let shown = if !site.has_control {
                    Shown::Nothing
                } else if site.shows(control) {
                    Shown::In
                } else {
                    Shown::Out
                };
                step = sessions.checked(sessions.number(), shown);
                continue;
            }
            Step::GiveUp => {
                ended.gave_up = true;
                break;
            }
            Step::Stay | Step::GoOn => {}
        }
        if flying.len() < lanes
            && let Some(id) = waiting.pop()
        {
            let (entry, next) = sessions.enter(id);
            step = next;
            match entry {
                Entry::Pass => flying.push((id, sessions.number(), site.shows(id))),
                Entry::Wait => waiting.push(id),
                Entry::Refuse => ended.refused.push(id),
            }
            if entry != Entry::Wait || step != Step::Stay {
                continue;
            }
        }
        if flying.is_empty() {
            assert!(waiting.is_empty(), "seed {seed}: targets wait for ever");
            break;
        }
        let (id, number, is_in) = flying.swap_remove(rng.usize(..flying.len()));
        if is_in {
            if sessions.seen_in(id, number) {
                control = id;
            }
            ended.ok.push(id);
        } else {
            step = sessions.seen_out(id, number);
            waiting.push(id);
        }
    }
    ended.ok.sort_unstable();
    ended.refused.sort_unstable();
    (ended.counts, ended.requests) = (sessions.counts(), site.requests);
    ended
}

fn site(lasts: u32, forbidden: fn(u64) -> bool) -> Site {
    let none: fn(u64) -> bool = |_| false;
    Site {
        lasts,
        left: 0,
        forbidden,
        public: none,
        logout: none,
        has_control: true,
        is_good: true,
        requests: 0,
    }
}

#[test]
fn a_site_that_ends_its_sessions_costs_a_login_each() {
    for seed in 0..200 {
        for lanes in [1, 4, 64] {
            let ended = run(Controls::Seen, &mut site(50, |_| false), 2000, lanes, seed);
            assert_eq!((ended.ok.len(), ended.refused.len()), (2000, 0), "seed {seed}, {lanes} lanes");
            assert!(ended.counts.logins <= 41, "seed {seed}: {:?}", ended.counts);
        }
    }
}

#[test]
fn without_a_control_no_page_fails_because_a_session_ended() {
    for seed in 0..200 {
        for lanes in [1, 4, 16] {
            let ended = run(Controls::None, &mut site(50, |_| false), 1000, lanes, seed);
            assert_eq!((ended.ok.len(), ended.refused.len()), (1000, 0), "seed {seed}, {lanes} lanes");
            assert!(ended.counts.logins <= 21, "seed {seed}: {:?}", ended.counts);
        }
    }
}

#[test]
fn pages_that_the_account_may_not_see_fail_alone_and_cost_few_logins() {
    let few: fn(u64) -> bool = |id| id % 100 == 7;
    let row: fn(u64) -> bool = |id| (300..400).contains(&id);
    let first: fn(u64) -> bool = |id| id < 100;
    let all: fn(u64) -> bool = |_| true;
    for seed in 0..100 {
        for lanes in [1, 4, 64] {
            for (forbidden, logins_max) in [(few, 8), (row, 10), (first, 14), (all, 16)] {
                for controls in [Controls::Seen, Controls::None] {
                    let ended = run(controls, &mut site(u32::MAX, forbidden), 1000, lanes, seed);
                    let count = (0..1000).filter(|id| forbidden(*id)).count();
                    let told = format!("seed {seed}, {lanes} lanes, {controls:?}: {:?}", ended.counts);
                    assert_eq!((ended.ok.len(), ended.refused.len()), (1000 - count, count), "{told}");
                    assert!(!ended.gave_up, "{told}");
                    // Without a control, a login is the check.
                    let most = if controls == Controls::None { 12 + count as u64 } else { logins_max };
                    assert!(ended.counts.logins <= most, "{told}");
                }
            }
        }
    }
}

#[test]
fn forbidden_pages_and_short_sessions_are_told_apart() {
    for seed in 0..200 {
        let mut site = site(50, |id| id % 10 == 3);
        let ended = run(Controls::Seen, &mut site, 1000, 8, seed);
        assert_eq!((ended.ok.len(), ended.refused.len()), (900, 100), "seed {seed}: {:?}", ended.counts);
        // A check that succeeds is a page of its session, too; and until a session has ended, no control is proven.
        assert!(ended.counts.logins <= 30, "seed {seed}: {:?}", ended.counts);
    }
}

#[test]
fn logins_that_fail_end_the_run_and_no_page() {
    let mut site = Site { is_good: false, ..site(50, |_| false) };
    let ended = run(Controls::Seen, &mut site, 10, 4, 0);
    assert!(ended.gave_up && ended.ok.is_empty() && ended.refused.is_empty(), "{ended:?}");
    assert_eq!(ended.counts, LoginCounts { failed: u64::from(FAILURES_MAX), ..LoginCounts::default() });
}

#[test]
fn late_answers_of_an_old_session_begin_no_login() {
    let mut sessions = Sessions::new(4, true, Controls::Seen);
    assert!(sessions.seen_in(1, 4));
    assert_eq!(sessions.seen_out(2, 4), Step::Check);
    assert_eq!(sessions.seen_out(3, 4), Step::Stay);
    assert_eq!(sessions.checked(4, Shown::Out), Step::LogIn);
    assert_eq!((sessions.number(), sessions.seen_out(5, 4)), (5, Step::Stay));
    assert_eq!(sessions.ended(5, true), Step::GoOn);
    for late in [6, 7, 8] {
        assert_eq!(sessions.seen_out(late, 4), Step::Stay);
        assert!(!sessions.seen_in(late, 4));
    }
    assert_eq!((sessions.number(), sessions.counts().logins), (5, 1));
    assert_eq!(sessions.counts().logged_out, 2);
}

#[test]
fn a_control_that_is_never_seen_again_is_dropped() {
    let mut sessions = Sessions::new(1, true, Controls::Seen);
    assert!(sessions.seen_in(1, 1));
    let mut logins = 0;
    for _ in 0..100 {
        match sessions.enter(2) {
            (Entry::Refuse, _) => break,
            (Entry::Pass, _) => {}
            (Entry::Wait, _) => panic!("nothing is under way"),
        }
        let mut step = sessions.seen_out(2, sessions.number());
        while step != Step::Stay && step != Step::GoOn {
            step = match step {
                Step::Check => sessions.checked(sessions.number(), Shown::Out),
                Step::LogIn => {
                    logins += 1;
                    sessions.ended(sessions.number(), true)
                }
                Step::Stay | Step::GoOn | Step::GiveUp => unreachable!(),
            };
        }
    }
    assert_eq!(sessions.enter(3), (Entry::Pass, Step::Stay));
    assert!(logins <= 3, "{logins}");
}

/// A mixed list: what anybody sees must not pass for a sign that the session is alive.
#[test]
fn public_pages_do_not_hide_that_the_session_has_ended() {
    let public: fn(u64) -> bool = |id| id % 3 != 0;
    for seed in 0..200 {
        for lanes in [1, 4, 64] {
            let mut site = Site { public, ..site(50, |_| false) };
            let ended = run(Controls::Seen, &mut site, 1000, lanes, seed);
            let told = format!("seed {seed}, {lanes} lanes: {:?}", ended.counts);
            assert_eq!((ended.ok.len(), ended.refused.len()), (1000, 0), "{told}");
            assert!(ended.counts.logins <= 10, "{told}");
        }
    }
}

#[test]
fn a_page_that_ends_the_session_fails_after_three_logins() {
    let logout: fn(u64) -> bool = |id| id == 300;
    for seed in 0..200 {
        for lanes in [1, 4, 16] {
            for controls in [Controls::Seen, Controls::Named] {
                let mut site = Site { logout, ..site(u32::MAX, |_| false) };
                let ended = run(controls, &mut site, 1000, lanes, seed);
                let told = format!("seed {seed}, {lanes} lanes, {controls:?}: {:?}", ended.counts);
                assert_eq!((ended.ok.len(), ended.refused), (999, vec![300]), "{told}");
                assert!(ended.counts.logins <= 12, "{told}");
            }
        }
    }
}

#[test]
fn a_named_control_that_cannot_be_had_costs_few_logins() {
    for seed in 0..50 {
        for lanes in [1, 4, 64] {
            let mut site = Site { has_control: false, ..site(u32::MAX, |id| id % 2 == 1) };
            let ended = run(Controls::Named, &mut site, 1000, lanes, seed);
            let told = format!("seed {seed}, {lanes} lanes: {:?}", ended.counts);
            assert_eq!((ended.ok.len(), ended.refused.len()), (500, 500), "{told}");
            assert!(ended.counts.logins <= 16, "{told}");
        }
    }
}
