use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

/// The number of unknown tokens per client in the last minute.
#[derive(Debug, Default)]
pub(crate) struct Guesses {
    peers: HashMap<Option<IpAddr>, Window>,
}

/// A minute that starts with a client's first unknown token.
#[derive(Clone, Copy, Debug)]
struct Window {
    begin: Instant,
    guesses: u32,
}

/// The maximum number of unknown tokens per client in a window.
const MAX_GUESSES: u32 = 30;
const WINDOW: Duration = Duration::from_secs(60);
/// The maximum number of tracked clients. Beyond it, the oldest window is removed.
const MAX_PEERS: usize = 1_024;

impl Guesses {
    /// Returns the rest of the window if a client has reached the limit.
    pub(crate) fn retry_after(&self, peer: Option<IpAddr>, now: Instant) -> Option<Duration> {
        let window = self.peers.get(&peer.map(network))?;
        let left = (window.begin + WINDOW).checked_duration_since(now)?;
        (window.guesses >= MAX_GUESSES && !left.is_zero()).then_some(left)
    }

    /// Counts an unknown token.
    pub(crate) fn add(&mut self, peer: Option<IpAddr>, now: Instant) {
        let peer = peer.map(network);
        if !self.peers.contains_key(&peer) && self.peers.len() >= MAX_PEERS {
            let oldest = self.peers.iter().min_by_key(|(_, window)| window.begin);
            if let Some(oldest) = oldest.map(|(peer, _)| *peer) {
                self.peers.remove(&oldest);
            }
        }
        let new = Window {
            begin: now,
            guesses: 0,
        };
        let window = self.peers.entry(peer).or_insert(new);
        if now >= window.begin + WINDOW {
            *window = new;
        }
        window.guesses = window.guesses.saturating_add(1);
    }
}

/// Returns a client's network: its IPv4 address, or the /64 of its IPv6 address.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use campanile_series::Now;

    use super::*;

    fn add(guesses: &mut Guesses, peer: IpAddr, times: u32, now: Instant) {
        for _ in 0..times {
            guesses.add(Some(peer), now);
        }
    }

    #[test]
    fn an_ipv6_network_is_one_client() {
        let mut guesses = Guesses::default();
        let now = Now::system().mono;
        for n in 0..30_u16 {
            add(
                &mut guesses,
                Ipv6Addr::new(1, 2, 3, 4, 5, 6, 7, n).into(),
                1,
                now,
            );
        }
        let peer = |text: &str| guesses.retry_after(Some(text.parse().unwrap()), now);
        assert_eq!(peer("1:2:3:4::"), Some(WINDOW));
        assert_eq!(peer("1:2:3:5::"), None);
        assert_eq!(guesses.retry_after(None, now), None);
        let mut guesses = Guesses::default();
        add(&mut guesses, "::ffff:10.0.0.1".parse().unwrap(), 30, now);
        let peer = "10.0.0.1".parse().unwrap();
        assert_eq!(guesses.retry_after(Some(peer), now), Some(WINDOW));
    }

    #[test]
    fn clients_are_limited_and_the_oldest_is_removed() {
        let mut guesses = Guesses::default();
        let start = Now::system().mono;
        for n in 0..2_000_u32 {
            let peer = std::net::Ipv4Addr::from_bits(n).into();
            add(
                &mut guesses,
                peer,
                30,
                start + Duration::from_millis(n.into()),
            );
        }
        assert_eq!(guesses.peers.len(), MAX_PEERS);
        let now = start + Duration::from_secs(2);
        let waits = |n: u32| {
            let peer = std::net::Ipv4Addr::from_bits(n).into();
            guesses.retry_after(Some(peer), now).is_some()
        };
        assert!(!waits(975) && waits(976) && waits(1_999));
    }
}
