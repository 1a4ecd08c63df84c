//! The proxy that a target goes through, and what its use says about it.

use serde::{Deserialize, Serialize};

/// The proxy that a target goes through, for one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Its position among the job's proxies.
    pub proxy: u16,
    /// How often the proxy was tried again after a fault, plus one. Once it has failed a worker, that worker connects
    /// to it again only for a target with a higher number.
    pub epoch: u32,
    /// Whether a fault of the proxy comes back as [`Verdict::Retry`](super::Verdict::Retry), which costs the target no attempt.
    pub may_move: bool,
    /// Whether what may be a fault of the proxy or of the server does so too.
    pub may_divert: bool,
}

impl Exit {
    /// Whether the target starts again at no cost after this. A fault of another proxy, which only a redirect leads
    /// to, is not mended by that.
    #[must_use]
    pub const fn leaves(&self, used: ExitUse) -> bool {
        used.proxy == self.proxy
            && match used.fault {
                Some(ExitFault::Proxy | ExitFault::Credentials | ExitFault::Shunned) => self.may_move,
                Some(ExitFault::Silent | ExitFault::Unreachable | ExitFault::Broken | ExitFault::Blocked) => {
                    self.may_divert
                }
                None => false,
            }
    }
}

/// What the last request of an attempt says about the proxy that it went through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitUse {
    /// The proxy's position among the job's proxies. A redirect may lead to another one than [`Exit::proxy`].
    pub proxy: u16,
    /// What went wrong at the proxy, or beyond it.
    pub fault: Option<ExitFault>,
    /// Whether the proxy did its part: it passed on an answer, or opened a tunnel.
    pub worked: bool,
}

/// What went wrong between a worker and a server that is reached through a proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExitFault {
    /// The proxy cannot be reached, or does not speak its protocol.
    Proxy,
    /// The proxy rejects the credentials, or wants some.
    Credentials,
    /// The proxy accepted the connection and did not say in time whether it reaches the server.
    Silent,
    /// The proxy says that it cannot, or will not, reach the server.
    Unreachable,
    /// The connection through the proxy ended, or stood still, before an answer came.
    Broken,
    /// The server turned the request away, perhaps for the proxy's address.
    Blocked,
    /// Nothing was sent, because the proxy has just failed this worker, or is being tried by it.
    Shunned,
}
