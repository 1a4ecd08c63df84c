//! Places for connections, uploads and listeners: a pool for each way in, and in each pool a limit
//! for each peer. So a crowd on the network takes nothing away from this machine's own users, and
//! one peer does not take everything away from the others.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::auth::Peer;

/// One peer of the network gets at most one in this many places. A whole office may be behind it.
const REMOTE_SHARE: usize = 4;

/// One user of the socket gets at most one in this many places.
const UNIX_SHARE: usize = 2;

/// Fewest places that a peer gets in a pool that has them: a browser opens six connections.
const PEER_MIN: usize = 6;

/// The way in which a peer reaches the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// The Unix socket.
    Unix,
    /// TCP from this machine. Its users are one peer, because TCP does not tell them apart; so is
    /// a reverse proxy that is not trusted.
    Local,
    /// TCP from another machine; also a request that came through a trusted reverse proxy.
    Remote,
    /// A connection of a trusted reverse proxy, before its clients are known. If such a proxy is on this machine, TCP does
    /// not tell it apart from the machine's users, who then have only the Unix socket to themselves.
    Proxy,
}

/// Who is limited as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum PeerKey {
    /// A user of this machine.
    User(u32),
    /// A network address. Of IPv6 the first 64 bits: a single machine has all of the others.
    Address(IpAddr),
}

impl PeerKey {
    fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V6(address) => Self::Address(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into()),
            address @ IpAddr::V4(_) => Self::Address(address),
        }
    }
}

impl Peer {
    fn way(&self) -> (Way, PeerKey) {
        match self {
            Self::Unix { uid, .. } => (Way::Unix, PeerKey::User(*uid)),
            Self::Tcp(address) => match address.ip().to_canonical() {
                address if address.is_loopback() => (Way::Local, PeerKey::Address(address)),
                address => (Way::Remote, PeerKey::of(address)),
            },
            Self::Proxy(address) => (Way::Proxy, PeerKey::of(address.ip())),
            Self::Forwarded { client, .. } => (Way::Remote, PeerKey::of(*client)),
        }
    }
}

/// The pools of one kind of place.
#[derive(Debug)]
pub(super) struct Pools {
    unix: Pool,
    local: Pool,
    remote: Pool,
    proxies: Pool,
}

impl Pools {
    /// Creates pools of `places` each.
    pub(super) fn new(places: usize) -> Self {
        let share = |one_in: usize| (places / one_in).max(PEER_MIN).min(places);
        Self {
            unix: Pool::new(places, share(UNIX_SHARE)),
            local: Pool::new(places, places),
            remote: Pool::new(places, share(REMOTE_SHARE)),
            // A connection of a proxy may be any client's.
            proxies: Pool::new(places, places),
        }
    }

    /// Returns a place, if there is one now.
    pub(super) fn try_take(&self, peer: &Peer) -> Option<Place> {
        let (way, key) = peer.way();
        let pool = self.of(way);
        // The peer's own limit comes first, so that its requests wait for each other.
        let of_peer = pool.peer(key).try_acquire_owned().ok()?;
        let of_all = Arc::clone(&pool.all).try_acquire_owned().ok()?;
        Some(Place { _of_peer: of_peer, _of_all: of_all })
    }

    /// Waits for a place.
    pub(super) async fn take(&self, peer: &Peer) -> Option<Place> {
        let (way, key) = peer.way();
        let pool = self.of(way);
        let of_peer = pool.peer(key).acquire_owned().await.ok()?;
        let of_all = Arc::clone(&pool.all).acquire_owned().await.ok()?;
        Some(Place { _of_peer: of_peer, _of_all: of_all })
    }

    /// Waits until every place is free.
    pub(super) async fn all_free(&self) {
        for pool in [&self.unix, &self.local, &self.remote, &self.proxies] {
            let places = u32::try_from(pool.places).unwrap_or(u32::MAX);
            // The pools are never closed.
            let _ = pool.all.acquire_many(places).await;
        }
    }

    const fn of(&self, way: Way) -> &Pool {
        match way {
            Way::Unix => &self.unix,
            Way::Local => &self.local,
            Way::Remote => &self.remote,
            Way::Proxy => &self.proxies,
        }
    }
}

/// The places for one way in.
#[derive(Debug)]
struct Pool {
    places: usize,
    all: Arc<Semaphore>,
    per_peer: usize,
    peers: Mutex<HashMap<PeerKey, Arc<Semaphore>>>,
}

impl Pool {
    fn new(places: usize, per_peer: usize) -> Self {
        Self { places, all: Arc::new(Semaphore::new(places)), per_peer, peers: Mutex::default() }
    }

    /// Returns the places of one peer. Peers that have none are forgotten, so there are never more
    /// than peers that hold or wait for a place.
    fn peer(&self, key: PeerKey) -> Arc<Semaphore> {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(places) = peers.get(&key) {
            return Arc::clone(places);
        }
        peers.retain(|_, places| Arc::strong_count(places) > 1);
        let places = Arc::new(Semaphore::new(self.per_peer));
        peers.insert(key, Arc::clone(&places));
        places
    }
}

/// A place, which is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    _of_peer: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(address: &str) -> Peer {
        Peer::Tcp(format!("{address}:4242").parse().unwrap())
    }

    /// Takes places until there are none.
    fn fill(pools: &Pools, peer: &Peer) -> Vec<Place> {
        std::iter::from_fn(|| pools.try_take(peer)).collect()
    }

    #[test]
    fn neither_a_peer_nor_a_crowd_takes_the_places_of_others() {
        let pools = Pools::new(32);
        let mut held = Vec::new();
        for (peer, places) in [
            (tcp("192.0.2.1"), 8),
            (tcp("192.0.2.1"), 0),
            (tcp("192.0.2.2"), 8),
            (tcp("[2001:db8:0:1::1]"), 8),
            (tcp("[2001:db8:0:1:ffff::2]"), 0),
            (tcp("[::ffff:192.0.2.2]"), 0),
            (tcp("[2001:db8:0:2::1]"), 8),
            // The network has no more.
            (tcp("192.0.2.3"), 0),
            (tcp("127.0.0.1"), 32),
            (tcp("[::1]"), 0),
            (Peer::Unix { uid: 1000, pid: None }, 16),
            (Peer::Unix { uid: 1000, pid: Some(7) }, 0),
            (Peer::Unix { uid: 0, pid: None }, 16),
        ] {
            let taken = fill(&pools, &peer);
            assert_eq!(taken.len(), places, "{peer}");
            held.push(taken);
        }
        drop(held);
        assert_eq!(fill(&pools, &tcp("192.0.2.3")).len(), 8);
    }

    #[test]
    fn a_trusted_proxy_has_places_of_its_own_and_each_of_its_clients_a_share() {
        let proxy = ([127, 0, 0, 1], 4242).into();
        let connections = Pools::new(32);
        let held = fill(&connections, &Peer::Proxy(proxy));
        let of_network = fill(&connections, &tcp("192.0.2.1"));
        assert_eq!((held.len(), of_network.len()), (32, 8));
        // Who comes from an address that is not trusted.
        assert_eq!(fill(&connections, &tcp("[::1]")).len(), 32);
        assert_eq!(fill(&connections, &Peer::Unix { uid: 1000, pid: None }).len(), 16);
        let uploads = Pools::new(32);
        let of = |client: &str| Peer::Forwarded { client: client.parse().unwrap(), proxy };
        let mut held = fill(&uploads, &of("192.0.2.1"));
        assert_eq!(held.len(), 8);
        held.extend(fill(&uploads, &tcp("192.0.2.1")));
        assert_eq!(held.len(), 8, "however it comes");
        assert_eq!(fill(&uploads, &of("2001:db8::1")).len(), 8);
        // A client may claim to be on this machine, but is not.
        assert_eq!(fill(&uploads, &of("127.0.0.1")).len(), 8);
    }

    #[test]
    fn a_small_pool_still_serves_a_browser() {
        for (places, per_peer) in [(1, 1), (5, 5), (8, 6), (512, 128)] {
            assert_eq!(fill(&Pools::new(places), &tcp("192.0.2.1")).len(), per_peer);
        }
    }

    #[test]
    fn peers_without_a_place_are_forgotten() {
        let pools = Pools::new(8);
        let kept = pools.try_take(&tcp("192.0.2.1")).unwrap();
        for last in 2..=250 {
            drop(pools.try_take(&tcp(&format!("192.0.2.{last}"))).unwrap());
        }
        assert!(pools.remote.peers.lock().unwrap().len() <= 2);
        drop(kept);
    }

    #[tokio::test]
    async fn who_waits_gets_the_next_place() {
        let pools = Arc::new(Pools::new(1));
        let peer = tcp("127.0.0.1");
        let first = pools.try_take(&peer).unwrap();
        let waiting = tokio::spawn({
            let (pools, peer) = (Arc::clone(&pools), peer.clone());
            async move { pools.take(&peer).await.is_some() }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(first);
        assert!(waiting.await.unwrap());
        pools.all_free().await;
    }
}
