//! Which of the proxies that may take a target gets it.

use std::ops::Range;
use std::time::Instant;

use super::health::Proxy;
use super::{Proxies, Sticky};

/// Draws to find a proxy that can take a target, before all of them are looked at.
const DRAWS: usize = 8;

impl Proxies {
    /// Returns the proxy for a host: of the first tier that has one to offer.
    pub(super) fn best(&mut self, now: Instant, host: u64, avoided: Option<usize>) -> Option<usize> {
        for tier in 0..self.tiers.len() {
            let range = self.tiers.get(tier)?.clone();
            let best = if self.config.sticky == Sticky::Host {
                self.sticky(now, host, range.clone(), avoided)
            } else {
                self.less_busy(now, host, range.clone(), avoided)
            };
            if best.is_some() {
                return best;
            }
            // A proxy that is being tried for the first time is worth the wait: the next tier costs more.
            let in_tier = self.list.get(range).unwrap_or_default();
            if self.tiers.len() > 1 && in_tier.iter().any(Proxy::is_unknown) {
                return None;
            }
        }
        None
    }

    fn takes(&self, now: Instant, place: usize, host: u64, avoided: Option<usize>) -> bool {
        Some(place) != avoided
            && self.list.get(place).is_some_and(|proxy| proxy.is_ready(now))
            && self.bans.get(&(place, host)).is_none_or(|ban| ban.until <= now)
    }

    /// Draws two proxies, and returns the one with less to do.
    fn less_busy(
        &mut self,
        now: Instant,
        host: u64,
        tier: Range<usize>,
        avoided: Option<usize>,
    ) -> Option<usize> {
        let mut found = [None, None];
        for _ in 0..DRAWS {
            let drawn = self.rng.usize(tier.clone());
            if found.contains(&Some(drawn)) || !self.takes(now, drawn, host, avoided) {
                continue;
            }
            let [first, second] = &mut found;
            if first.is_none() {
                *first = Some(drawn);
            } else {
                *second = Some(drawn);
                break;
            }
        }
        match found {
            [Some(one), Some(other)] => Some(self.lighter(one, other)),
            [None, _] | [_, None] => {
                // Few can take it, so each is looked at.
                let able = tier.filter(|place| self.takes(now, *place, host, avoided));
                able.reduce(|one, other| self.lighter(one, other))
            }
        }
    }

    fn lighter(&self, one: usize, other: usize) -> usize {
        match (self.list.get(one), self.list.get(other)) {
            (Some(a), Some(b)) if b.is_lighter_than(a) => other,
            (_, _) => one,
        }
    }

    /// Returns the proxy that a host keeps: the one whose number, mixed with the host's, is highest. If a proxy fails,
    /// only its own hosts move (rendezvous hashing).
    fn sticky(&self, now: Instant, host: u64, tier: Range<usize>, avoided: Option<usize>) -> Option<usize> {
        let rank = |place: &usize| mix(host ^ mix(*place as u64));
        let able = |place: &usize| {
            self.takes(now, *place, host, avoided)
                // It is being tried for the first time, and its hosts wait for that.
                || Some(*place) != avoided && self.list.get(*place).is_some_and(Proxy::is_unknown)
        };
        tier.filter(able).max_by_key(rank).filter(|place| self.takes(now, *place, host, avoided))
    }

    /// Returns the proxy whose ban for a host ends first, if none is being tried that may be better. One that failed this
    /// target counts as banned.
    pub(super) fn least_banned(&self, now: Instant, host: u64, avoided: Option<usize>) -> Option<usize> {
        if self.awaits_probe() {
            return None;
        }
        let ban = |place: &usize| self.bans.get(&(*place, host)).map(|ban| ban.until);
        let is_ready = |place: &usize| self.list.get(*place).is_some_and(|proxy| proxy.is_ready(now));
        let refused = |place: &usize| Some(*place) == avoided || ban(place).is_some_and(|until| until > now);
        (0..self.list.len()).filter(|place| is_ready(place) && refused(place)).min_by_key(ban)
    }

    /// Whether a proxy is being tried, so that more may be known soon.
    pub(super) fn awaits_probe(&self) -> bool {
        self.list.iter().any(Proxy::is_probed)
    }
}

/// Mixes all bits of a number (the finalizer of `SplitMix64`), so that ranks of neighbours have nothing in common.
const fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}
