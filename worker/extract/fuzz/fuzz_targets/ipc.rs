//! Any bytes on a channel are messages or refused, on either side, and a batch that is let through is one that a worker
//! of this build sends.

#![no_main]

use libfuzzer_sys::fuzz_target;
use shared::codec::{self, Joiner};
use shared::protocol::{FromWorker, OUTCOMES_MAX, ToWorker};

/// Pieces are cut here, so that a finding can be read.
const CUT: &[u8] = b"\xff\xfe|";

fuzz_target!(|bytes: &[u8]| {
    let (mut of_worker, mut of_supervisor) = (Joiner::default(), Joiner::default());
    let mut rest = bytes;
    loop {
        let at = rest.windows(CUT.len()).position(|window| window == CUT);
        let (piece, more) = at.map_or((rest, None), |at| (&rest[..at], Some(&rest[at + CUT.len()..])));
        if let Ok(Some(message)) = of_worker.push::<FromWorker>(piece) {
            check(&message);
        }
        let _ = of_supervisor.push::<ToWorker>(piece);
        let Some(more) = more else { break };
        rest = more;
    }
});

/// A message is sent as it was read, and its parts are within their limits.
fn check(message: &FromWorker) {
    let (mut joiner, mut again) = (Joiner::default(), None);
    let sent = codec::send(message, &mut Vec::new(), |piece| joiner.push(piece).map(|read| again = read));
    sent.expect("it can be encoded").expect("it can be decoded");
    assert_eq!(again.as_ref(), Some(message));
    if let FromWorker::Batch(batch) = message {
        assert!(batch.outcomes.len() <= OUTCOMES_MAX);
        let lengths: u128 = batch.outcomes.iter().map(|outcome| u128::from(outcome.line_bytes)).sum();
        assert_eq!(batch.adds_up(), lengths == batch.lines.len() as u128);
        for outcome in &batch.outcomes {
            let _ = outcome.records();
        }
    }
}
