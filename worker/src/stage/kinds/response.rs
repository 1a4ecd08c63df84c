//! The response to a target, with either client: waits for it, and makes a record from it.

use std::future::poll_fn;
use std::pin::pin;
use std::task;
use std::time::Duration;

use shared::black_box::Phase;
use shared::clock;
use shared::kept::Kept;
use shared::protocol::Target;
use shared::record::ErrorKind;
use url::Url;

use crate::stage::blocked::{Judgement, PageRules};
use crate::stage::context::{Computed, Context, Waited, run_hook};
use crate::stage::fetch::cookies::Cookies;
use crate::stage::fetch::recording::Recording;
use crate::stage::fetch::since::Condition;
use crate::stage::fetch::{Failure, Fetched, Outcome, Wanted, blocking, event_loop};
use crate::stage::findings::Findings;
use crate::stage::save::{FileSlot, FileTooLarge};

/// What came back for a target, before anything was computed from it.
#[derive(Debug)]
pub(crate) struct Response {
    started_us: u64,
    outcome: Outcome,
    /// What the rules about pages say, if that had to be known before its file has a name.
    judged: Option<Judgement>,
    recording: Recording,
}

/// What a stage asks of its client besides responses.
pub(crate) trait Client {
    /// Notes the addresses of servers on the recording.
    fn name_peers(&self);

    /// The cookies, if the job keeps them.
    fn cookies(&self) -> Option<Cookies>;

    /// Tells that this thread did nothing else for a while: timeouts stood still meanwhile.
    fn add_stall(&self, busy: Duration);
}

impl Client for blocking::Client {
    fn name_peers(&self) {
        Self::name_peers(self);
    }

    fn cookies(&self) -> Option<Cookies> {
        Self::cookies(self)
    }

    fn add_stall(&self, _: Duration) {}
}

impl Client for event_loop::Client {
    fn name_peers(&self) {
        Self::name_peers(self);
    }

    fn cookies(&self) -> Option<Cookies> {
        Self::cookies(self)
    }

    fn add_stall(&self, busy: Duration) {
        self.stall().add(busy);
    }
}

/// Fetches a target on this thread.
pub(super) fn fetch(
    client: &mut blocking::Client,
    context: &Context,
    target: &Target,
    wanted: Wanted,
    file: Option<Box<FileSlot>>,
    condition: Option<Box<Condition>>,
) -> Response {
    context.begin(target);
    let started_us = context.enter(target, Phase::Fetch);
    let mut recording = context.recording();
    (recording.file, recording.condition, recording.session) = (file, condition, target.session);
    let outcome = match std::str::from_utf8(&target.input) {
        Ok(url) => client.fetch(url, wanted, target.exit, Kept(&target.kept), &mut recording),
        Err(_) => Err(not_utf8()),
    };
    Response { started_us, outcome, judged: None, recording }
}

/// Fetches a target together with others. The black box names it each time that the work goes on, because a wait is
/// also decompression, which can kill.
pub(super) async fn fetch_interleaved(
    client: &event_loop::Client,
    context: &Context,
    target: &Target,
    wanted: Wanted,
    file: Option<Box<FileSlot>>,
    condition: Option<Box<Condition>>,
) -> Response {
    context.begin(target);
    let started_us = clock::monotonic_us();
    let mut recording = context.recording();
    (recording.file, recording.condition, recording.session) = (file, condition, target.session);
    let outcome = match std::str::from_utf8(&target.input) {
        Err(_) => Err(not_utf8()),
        Ok(url) => {
            let mut work = pin!(client.fetch(url, wanted, target.exit, Kept(&target.kept), &mut recording));
            let mut hook = context.hook();
            poll_fn(|poll| {
                context.black_box.enter(target.id, Phase::Fetch, clock::monotonic_us());
                run_hook(hook.take(), Phase::Fetch, &target.input);
                let polled = work.as_mut().poll(poll);
                context.black_box.leave();
                polled
            })
            .await
        }
    };
    Response { started_us, outcome, judged: None, recording }
}

impl Response {
    /// Ends the file of the body, if bodies are saved: with a name if the target has succeeded with a page that the
    /// rules allow.
    pub(super) async fn end_file(
        &mut self,
        client: &impl Client,
        context: &Context,
        target: &Target,
        rules: &PageRules,
    ) {
        let Self { outcome, judged, recording, .. } = self;
        let Some(mut file) = recording.file.take() else { return };
        let url = std::str::from_utf8(&target.input).ok().and_then(|input| Url::parse(input).ok());
        let allowed = match outcome {
            Ok(fetched) if file.is_held() => {
                let begun_us = context.enter(target, Phase::Extract);
                let judgement = rules.judge(fetched, recording);
                context.black_box.leave();
                client.add_stall(Duration::from_micros(clock::monotonic_us().saturating_sub(begun_us)));
                matches!(judged.insert(judgement), Ok(None))
            }
            Ok(_) | Err(_) => true,
        };
        let finished = match (&outcome, url) {
            (Ok(fetched), Some(url)) if allowed => file.finish(url, fetched.content_type.clone()).await,
            (Err(failure), _) if failure.may_pass => {
                file.break_off().await;
                Ok(())
            }
            (Ok(_) | Err(_), _) => {
                file.give_up().await;
                Ok(())
            }
        };
        recording.file = Some(file);
        if let (Err(error), Ok(fetched)) = (finished, &outcome) {
            *outcome = Err(Box::new(too_large(fetched, error)));
        }
    }
}

fn too_large(fetched: &Fetched, error: FileTooLarge) -> Failure {
    Failure {
        kind: ErrorKind::TooLarge,
        message: error.to_string(),
        final_url: Some(fetched.final_url.clone()),
        status: Some(fetched.status),
        bytes: 0,
        may_pass: false,
        retry_after: None,
        page: None,
    }
}

/// Does work that never waits, because all that it waits for is done by this thread.
pub(crate) fn at_once<T>(work: impl Future<Output = T>) -> Option<T> {
    match pin!(work).poll(&mut task::Context::from_waker(task::Waker::noop())) {
        task::Poll::Ready(done) => Some(done),
        task::Poll::Pending => None,
    }
}

/// Makes a target's record from its response: `read` computes what it comes to.
pub(super) fn conclude(
    client: &impl Client,
    context: &Context,
    target: &Target,
    response: Response,
    out: &mut Vec<u8>,
    read: impl FnOnce(Outcome, Option<Judgement>, &mut Recording) -> Findings,
) -> Computed {
    let Response { started_us, outcome, judged, mut recording } = response;
    let begun_us = context.enter(target, Phase::Extract);
    let findings = read(outcome, judged, &mut recording);
    let waited = Waited { target, started_us, begun_us, is_url: true, recording: &recording };
    let computed = context.conclude(&waited, findings, out);
    client.add_stall(computed.computing());
    computed
}

fn not_utf8() -> Box<Failure> {
    Box::new(Failure {
        kind: ErrorKind::InvalidUrl,
        message: "not a URL: it is not UTF-8".to_owned(),
        final_url: None,
        status: None,
        bytes: 0,
        may_pass: false,
        retry_after: None,
        page: None,
    })
}
