use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A range of IP addresses, such as `10.0.0.0/8` or `fd00::/8`.
///
/// ```
/// use campanile_client::Cidr;
///
/// let network: Cidr = "10.1.0.0/16".parse()?;
/// assert!(network.contains("10.1.2.3".parse()?));
/// assert!(!network.contains("10.2.0.0".parse()?));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    network: IpAddr,
    prefix: u8,
}

impl Cidr {
    const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Self {
        Self {
            network: IpAddr::V4(Ipv4Addr::new(a, b, c, d)),
            prefix,
        }
    }

    const fn v6(segments: [u16; 8], prefix: u8) -> Self {
        let [a, b, c, d, e, f, g, h] = segments;
        Self {
            network: IpAddr::V6(Ipv6Addr::new(a, b, c, d, e, f, g, h)),
            prefix,
        }
    }

    /// Returns the IPv4 range that an IPv6 range embeds, or the range itself. Policies compare
    /// embedded addresses.
    fn canonical(self) -> Self {
        let (IpAddr::V6(from), IpAddr::V4(network)) = (self.network, canonical(self.network))
        else {
            return self;
        };
        let before = if from.segments()[0] == 0x2002 { 16 } else { 96 };
        // The whole range of a translation, such as NAT64, would stand for all of IPv4.
        match self
            .prefix
            .checked_sub(before)
            .filter(|prefix| *prefix >= MIN_EMBEDDED_PREFIX)
        {
            Some(prefix) => Self {
                network: network.into(),
                // The bits after the address in 6to4 have no counterpart.
                prefix: prefix.min(32),
            },
            None => self,
        }
    }

    /// Returns whether the address is in the range. An IPv4 address that an IPv6 address embeds
    /// counts as both.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.has(address) || self.has(canonical(address))
    }

    fn has(&self, address: IpAddr) -> bool {
        match (self.network, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let mask = u32::MAX
                    .checked_shl(32 - u32::from(self.prefix))
                    .unwrap_or(0);
                network.to_bits() & mask == address.to_bits() & mask
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let mask = u128::MAX
                    .checked_shl(128 - u32::from(self.prefix))
                    .unwrap_or(0);
                network.to_bits() & mask == address.to_bits() & mask
            }
            _ => false,
        }
    }
}

/// The shortest prefix of an embedded IPv4 range.
const MIN_EMBEDDED_PREFIX: u8 = 8;

/// A string is not a range of IP addresses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid address range {text:?}: expected one such as 10.0.0.0/8 or fd00::/8")]
pub struct CidrError {
    text: String,
}

impl FromStr for Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, CidrError> {
        let parse = || {
            let (network, prefix) = text.split_once('/')?;
            let network: IpAddr = network.parse().ok()?;
            let max_prefix = if network.is_ipv4() { 32 } else { 128 };
            let is_number = prefix.bytes().all(|byte| byte.is_ascii_digit());
            let prefix = prefix
                .parse()
                .ok()
                .filter(|&prefix| is_number && prefix <= max_prefix)?;
            Some(Self { network, prefix }.canonical())
        };
        parse().ok_or_else(|| CidrError {
            text: text.chars().take(64).collect(),
        })
    }
}

/// Addresses that a guarded client never connects to.
const NEVER: [Cidr; 23] = [
    Cidr::v4(0, 0, 0, 0, 8),
    Cidr::v4(169, 254, 0, 0, 16),
    // Alibaba's metadata service.
    Cidr::v4(100, 100, 100, 200, 32),
    // Azure's WireServer.
    Cidr::v4(168, 63, 129, 16, 32),
    Cidr::v4(192, 0, 0, 0, 24),
    // Documentation, and 6to4 relays.
    Cidr::v4(192, 0, 2, 0, 24),
    Cidr::v4(198, 51, 100, 0, 24),
    Cidr::v4(203, 0, 113, 0, 24),
    Cidr::v4(192, 88, 99, 0, 24),
    Cidr::v4(224, 0, 0, 0, 4),
    Cidr::v4(240, 0, 0, 0, 4),
    Cidr::v6([0; 8], 128),
    // NAT64 with a local prefix: the position of the IPv4 address is unknown.
    Cidr::v6([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48),
    // Discard, Teredo and other protocols, documentation, segment routing.
    Cidr::v6([0x100, 0, 0, 0, 0, 0, 0, 0], 64),
    Cidr::v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23),
    Cidr::v6([0x2001, 0x0db8, 0, 0, 0, 0, 0, 0], 32),
    Cidr::v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20),
    Cidr::v6([0x5f00, 0, 0, 0, 0, 0, 0, 0], 16),
    Cidr::v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 9),
    Cidr::v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8),
    // Amazon's metadata, credentials, DNS and time services.
    Cidr::v6([0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0], 32),
    // Google's and Scaleway's metadata services.
    Cidr::v6([0xfd20, 0x00ce, 0, 0, 0, 0, 0, 0x0254], 128),
    Cidr::v6([0xfd00, 0x0042, 0, 0, 0, 0, 0, 0x0042], 128),
];

/// Addresses that a guarded client connects to only if they are allowed.
const INTERNAL: [Cidr; 8] = [
    Cidr::v4(10, 0, 0, 0, 8),
    Cidr::v4(100, 64, 0, 0, 10),
    Cidr::v4(127, 0, 0, 0, 8),
    Cidr::v4(172, 16, 0, 0, 12),
    Cidr::v4(192, 168, 0, 0, 16),
    Cidr::v4(198, 18, 0, 0, 15),
    Cidr::v6([0, 0, 0, 0, 0, 0, 0, 1], 128),
    Cidr::v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7),
];

/// The addresses that a client connects to.
#[derive(Clone, Debug)]
pub(crate) enum Policy {
    /// All addresses, because the application has chosen the target.
    Trusted,
    /// Public addresses, and internal addresses in these ranges.
    Guarded(Vec<Cidr>),
}

impl Policy {
    pub(crate) fn allows(&self, address: IpAddr) -> bool {
        let Self::Guarded(allowed) = self else {
            return true;
        };
        let address = canonical(address);
        let is_in = |ranges: &[Cidr]| ranges.iter().any(|range| range.contains(address));
        !is_in(&NEVER) && (!is_in(&INTERNAL) || is_in(allowed))
    }
}

/// Returns the IPv4 address that an IPv6 address embeds, or the address itself.
fn canonical(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else {
        return address;
    };
    let from =
        |high: u16, low: u16| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)).into();
    match v6.segments() {
        // The unspecified and the loopback address embed nothing.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => address,
        // Compatible, mapped, translated, NAT64.
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x64, 0xff9b, 0, _, _, _, high, low] => from(high, low),
        // 6to4.
        [0x2002, high, low, ..] => from(high, low),
        _ => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv4_ranges_inside_ipv6_equal_ipv4_ranges() {
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        for range in [
            "10.0.0.0/8",
            "::ffff:10.0.0.0/104",
            "64:ff9b::10.0.0.0/104",
            "2002:a00::/24",
        ] {
            let range: Cidr = range.parse().unwrap();
            let policy = Policy::Guarded(vec![range]);
            for inside in ["10.1.2.3", "::ffff:10.1.2.3", "64:ff9b::10.1.2.3"] {
                assert!(range.contains(address(inside)), "{range:?} {inside}");
                assert!(policy.allows(address(inside)), "{range:?} {inside}");
            }
            assert!(!range.contains(address("11.1.2.3")));
            assert!(!range.contains(address("::ffff:11.1.2.3")));
        }
        let loopback: Cidr = "::1/128".parse().unwrap();
        assert!(loopback.contains(address("::1")) && !loopback.contains(address("0.0.0.1")));
        let all: Cidr = "::/0".parse().unwrap();
        assert!(all.contains(address("::ffff:1.2.3.4")) && !all.contains(address("1.2.3.4")));
    }

    #[test]
    fn a_range_of_nat64_does_not_allow_loopback() {
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let mut bad = Vec::new();
        for range in ["64:ff9b::/96", "2002::/16", "::ffff:0:0/96"] {
            let policy = Policy::Guarded(vec![range.parse().unwrap()]);
            for inside in ["127.0.0.1", "10.0.0.1", "169.254.169.254"] {
                if policy.allows(address(inside)) {
                    bad.push((range, inside));
                }
            }
        }
        assert!(bad.is_empty(), "{bad:?}");
    }

    #[test]
    fn ranges_are_read() {
        for text in [
            "10.0.0.0/8",
            "0.0.0.0/0",
            "1.2.3.4/32",
            "::/0",
            "fd00::/8",
            "::1/128",
        ] {
            assert!(text.parse::<Cidr>().is_ok(), "{text}");
        }
        for text in [
            "",
            "10.0.0.0",
            "10.0.0.0/33",
            "::/129",
            "10.0.0/8",
            "a/8",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "10.0.0.0/-1",
        ] {
            let error = text.parse::<Cidr>().unwrap_err();
            assert!(
                error
                    .to_string()
                    .starts_with(&format!("invalid address range {text:?}")),
                "{error}"
            );
        }
        let all: Cidr = "0.0.0.0/0".parse().unwrap();
        assert!(all.contains([1, 2, 3, 4].into()));
    }

    #[test]
    fn an_allowed_range_opens_no_service_of_a_cloud() {
        let allowed = ["fd00::/8", "0.0.0.0/0", "::/0"].map(|range| range.parse().unwrap());
        let guarded = Policy::Guarded(allowed.to_vec());
        for address in [
            "168.63.129.16",
            "::ffff:168.63.129.16",
            "169.254.169.254",
            "169.254.170.23",
            "100.100.100.200",
            "203.0.113.7",
            "192.0.2.1",
            "fd00:ec2::254",
            "fd00:ec2::23",
            "fd00:ec2::253",
            "fd00:42::42",
            "fd20:ce::254",
            "2001:db8::1",
            "2001::1",
            "100::1",
            "3fff::1",
            "5f00::1",
            "64:ff9b:1:a9fe:a9:fe00:101:101",
        ] {
            assert!(!guarded.allows(address.parse().unwrap()), "{address}");
        }
        for address in ["10.0.0.1", "fd00::1", "127.0.0.1", "2001:4860:4860::8888"] {
            assert!(guarded.allows(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn guarded_addresses_are_public_or_allowed() {
        let guarded = Policy::Guarded(vec![
            "127.0.0.0/8".parse().unwrap(),
            "169.254.0.0/16".parse().unwrap(),
        ]);
        let check = |addresses: &[&str], allowed| {
            for address in addresses {
                assert_eq!(
                    guarded.allows(address.parse().unwrap()),
                    allowed,
                    "{address}"
                );
                assert!(Policy::Trusted.allows(address.parse().unwrap()));
            }
        };
        check(
            &[
                "1.1.1.1",
                "93.184.216.34",
                "2606:4700::1111",
                "127.0.0.1",
                "127.1.2.3",
                "::ffff:127.0.0.1",
                "::ffff:1.1.1.1",
                "64:ff9b::1.1.1.1",
            ],
            true,
        );
        check(
            &[
                "0.0.0.0",
                "10.0.0.1",
                "100.64.0.1",
                "100.100.100.200",
                "169.254.169.254",
                "172.16.0.1",
                "172.31.255.255",
                "192.168.1.1",
                "192.0.0.192",
                "198.18.0.1",
                "224.0.0.1",
                "255.255.255.255",
                "::",
                "::1",
                "::ffff:169.254.169.254",
                "::169.254.169.254",
                "::ffff:10.0.0.1",
                "64:ff9b::a9fe:a9fe",
                "64:ff9b:1::a00:1",
                "2002:a00:1::",
                "2002:a9fe:a9fe::1",
                "fe80::1",
                "fec0::1",
                "fd00::1",
                "fd00:ec2::254",
                "fd20:ce::254",
                "ff02::1",
                "::ffff:0:10.0.0.1",
            ],
            false,
        );
    }
}
