//! Targets that wait for a login, and answers that look logged out.

use std::sync::Arc;

use wire::protocol::{CHECK_IDS, LOGIN_IDS, Reply, SessionMark, Target};
use wire::record::ErrorKind;

use super::*;
use crate::frontier::HostRef;

const SITE: HostRef<'_> = HostRef { name: "site", local: true };
const OTHER: HostRef<'_> = HostRef { name: "other", local: true };

/// A job with four pages of a site that needs a login, and one of another site.
fn rig() -> Rig {
    rig_with(None)
}

/// The same; the user may have named a page to check the session with.
fn rig_with(check: Option<LoginStep>) -> Rig {
    let login = LoginHost { name: Arc::from(SITE.name), local: true };
    let config = SessionsConfig {
        login: LoginStep { input: b"login".to_vec(), kept: Vec::new(), host: login },
        check,
        may_repeat: true,
        covers: Arc::new(|input| input.starts_with(b"site")),
        profiles: 0,
        start: SessionStart::default(),
    };
    let Rig { pool, now, asked } = Rig::new(PoolConfig { slots: 1, concurrency: 8, ..limits() });
    let mut rig = Rig { pool: pool.logging_in(config), now, asked };
    for id in 0..4 {
        rig.pool.submit(rig.now, id, format!("site {id}").into_bytes(), Vec::new(), Some(SITE));
    }
    rig.pool.submit(rig.now, 4, b"other".to_vec(), Vec::new(), Some(OTHER));
    rig.tell(Event::SourceEnded);
    rig.up(seat(0, 1));
    rig
}

/// Takes the targets that were handed out.
fn given(rig: &mut Rig) -> Vec<Target> {
    let slices = rig.asked().into_iter().filter_map(|command| {
        if let Command::SendSlice(_, slice) = command { Some(slice.targets) } else { None }
    });
    slices.flatten().collect()
}

fn ids(targets: &[Target]) -> Vec<u64> {
    let mut ids: Vec<_> = targets.iter().map(|target| target.id).collect();
    ids.sort_unstable();
    ids
}

/// Answers a target that was asked for in this session.
fn answer(rig: &mut Rig, id: u64, number: u32, is_out: bool) {
    let verdict = if is_out { Verdict::Retry { kind: ErrorKind::Login } } else { Verdict::Ok };
    let reply = Some(Reply { first_byte_us: 1, status: 200, refused: false, requests: 1, page: None });
    let session = Some(SessionMark { number, is_out }).filter(|_| !(LOGIN_IDS..CHECK_IDS).contains(&id));
    let outcome = Outcome { reply, session, ..outcome(id, &verdict) };
    let batch = Batch { slices_read: 0, outcomes: vec![outcome], lines: Vec::new() };
    rig.pool.handle_batch(rig.now, seat(0, 1), &batch, &mut Vec::new());
    rig.listen();
}

fn log_in(rig: &mut Rig, id: u64) {
    answer(rig, id, 0, false);
    rig.pool.end_login(rig.now, id, None);
    rig.listen();
}

#[test]
fn one_login_comes_first_and_other_hosts_go_on() {
    let mut rig = rig();
    let targets = given(&mut rig);
    assert_eq!(ids(&targets), [4, LOGIN_IDS]);
    assert_eq!(targets.iter().map(|target| target.session).max(), Some(1));
    assert_eq!(rig.pool.logins_left(), 1);
    log_in(&mut rig, LOGIN_IDS);
    assert_eq!((ids(&given(&mut rig)), rig.pool.logins_left()), (vec![0, 1, 2, 3], 0));
}

#[test]
fn a_session_that_ends_costs_one_login_and_late_answers_none() {
    let mut rig = rig();
    given(&mut rig);
    log_in(&mut rig, LOGIN_IDS);
    given(&mut rig);
    answer(&mut rig, 0, 1, false);
    answer(&mut rig, 1, 1, true);
    let check = given(&mut rig);
    assert_eq!((ids(&check), &*check[0].input), (vec![CHECK_IDS + 1], b"site 0".as_slice()));
    answer(&mut rig, CHECK_IDS + 1, 1, true);
    assert_eq!(ids(&given(&mut rig)), [LOGIN_IDS + 2]);
    // Asked in the session that has ended.
    answer(&mut rig, 2, 1, true);
    assert!(given(&mut rig).is_empty());
    log_in(&mut rig, LOGIN_IDS + 2);
    let again = given(&mut rig);
    assert_eq!(ids(&again), [1, 2]);
    assert!(again.iter().all(|target| target.session == 2));
    answer(&mut rig, 3, 1, true);
    assert_eq!(ids(&given(&mut rig)), [3]);
    let counts = rig.pool.login_counts().unwrap();
    assert_eq!((counts.logins, counts.logged_out, counts.failed), (2, 1, 0));
}

#[test]
fn a_page_that_the_account_may_not_see_has_its_record_and_costs_no_attempt() {
    let login = LoginHost { name: Arc::from(SITE.name), local: true };
    let check = LoginStep { input: b"site check".to_vec(), kept: Vec::new(), host: login };
    let mut rig = rig_with(Some(check));
    given(&mut rig);
    log_in(&mut rig, LOGIN_IDS);
    given(&mut rig);
    answer(&mut rig, 0, 1, false);
    for check in [CHECK_IDS + 1, CHECK_IDS + 2] {
        answer(&mut rig, 1, 1, true);
        assert!(ids(&given(&mut rig)).contains(&check));
        answer(&mut rig, check, 1, false);
    }
    let ended = rig.asked().into_iter().find_map(|command| {
        if let Command::Abandon(abandoned) = command { Some((abandoned.id, abandoned.kind)) } else { None }
    });
    assert_eq!(ended, Some((1, ErrorKind::Login)));
    assert_eq!(rig.pool.login_counts().unwrap().logins, 1);
}

#[test]
fn a_login_that_fails_ends_the_run_and_leaves_its_targets_open() {
    let mut rig = rig();
    given(&mut rig);
    for id in [LOGIN_IDS, LOGIN_IDS + 1] {
        answer(&mut rig, id, 0, false);
        rig.pool.end_login(rig.now, id, Some("wrong"));
        rig.listen();
    }
    let why = rig
        .asked()
        .into_iter()
        .find_map(|command| if let Command::LoginFailed(why) = command { Some(why) } else { None });
    assert_eq!(why.unwrap(), "the login failed: wrong; put that right, then resume");
    assert_eq!(rig.pool.inputs_left() - rig.pool.logins_left(), 5);
}

#[test]
fn a_login_whose_worker_dies_is_tried_by_another() {
    let mut rig = rig();
    given(&mut rig);
    rig.dies(seat(0, 1), Exit::Signal(9), None, "");
    rig.pass(5 * SECOND, |_| reading(0, None));
    rig.up(seat(0, 2));
    assert_eq!(ids(&given(&mut rig)), [4, LOGIN_IDS]);
}
