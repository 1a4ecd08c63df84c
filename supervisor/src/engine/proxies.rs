//! The proxies of a job: what the pool is told of them, and what the summary says.

use std::sync::Arc;

use shared::job::Work;
use shared::proxy::{Reach as Way, Sticky};
use supervisor_core::proxies::{self as core, ProxiesConfig, ProxySnapshot, Reach, ReachOf};

use crate::kinds;
use crate::summary::PerProxy;

/// Returns what the pool is told; `None` if all goes directly.
pub(super) fn config(work: &Work) -> Option<ProxiesConfig> {
    let spec = kinds::proxies(work).filter(|spec| !spec.is_empty())?;
    let names = spec.list.iter().map(ToString::to_string).collect();
    let by_url = spec.depends_on_url().then(|| spec.clone());
    let reach = by_url.map(|spec| -> ReachOf {
        Arc::new(move |input| match spec.reach_input(input) {
            Way::Direct => Reach::Direct,
            Way::Any => Reach::Any,
            Way::Only(place) => Reach::Only(place),
        })
    });
    let sticky = match spec.sticky {
        Sticky::None => core::Sticky::None,
        Sticky::Host => core::Sticky::Host,
        Sticky::Session => core::Sticky::Session,
    };
    Some(ProxiesConfig { names, tiers: spec.tiers.clone(), sticky, reach })
}

/// Adds what a pass used to what the passes before it used.
pub(super) fn add(used: &mut Vec<ProxySnapshot>, pass: Vec<ProxySnapshot>) {
    if used.len() != pass.len() {
        *used = pass;
        return;
    }
    for (used, pass) in used.iter_mut().zip(pass) {
        let before = std::mem::replace(used, pass);
        used.requests += before.requests;
        used.ok += before.ok;
        used.faults += before.faults;
        used.refused += before.refused;
    }
}

/// Returns what the summary says.
pub(crate) fn summarize(used: &[ProxySnapshot]) -> Vec<PerProxy> {
    let summarize = |proxy: &ProxySnapshot| PerProxy {
        proxy: proxy.name.clone(),
        requests: proxy.requests,
        ok: proxy.ok,
        faults: proxy.faults,
        refused: proxy.refused,
        state: proxy.health.name().to_owned(),
    };
    used.iter().map(summarize).collect()
}
