//! A set of addresses, made of networks, in which one is found without a walk through all of them. Knows no step.

use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;

/// Networks, as ranges that do not touch, in order. IPv4 stands in its mapped form (RFC 4291 section 2.5.5.2), so that
/// it does not matter in which form an address comes.
#[derive(Debug, Default)]
pub(super) struct Addresses(Box<[(u128, u128)]>);

impl Addresses {
    /// The addresses of all of these.
    pub(super) fn new(networks: &[IpNet]) -> Self {
        let mut ranges: Vec<_> =
            networks.iter().map(|network| (number(network.network()), number(network.broadcast()))).collect();
        ranges.sort_unstable();
        let mut merged: Vec<(u128, u128)> = Vec::with_capacity(ranges.len());
        for (first, last) in ranges {
            match merged.last_mut() {
                Some((_, end)) if first <= end.saturating_add(1) => *end = last.max(*end),
                _ => merged.push((first, last)),
            }
        }
        Self(merged.into())
    }

    /// Whether it has this one.
    pub(super) fn contains(&self, address: IpAddr) -> bool {
        let address = number(address);
        let after = self.0.partition_point(|(first, _)| *first <= address);
        after > 0 && address <= self.0[after - 1].1
    }
}

fn number(address: IpAddr) -> u128 {
    let mapped = match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    };
    Ipv6Addr::to_bits(mapped)
}

/// Networks as `explain` shows them: the first few.
pub(super) fn named(networks: &[IpNet]) -> String {
    let first: Vec<_> = networks.iter().take(NAMED_MAX).map(ToString::to_string).collect();
    match networks.len() - first.len() {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}

const NAMED_MAX: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_found_in_its_networks_in_either_form() {
        let networks =
            ["10.0.0.0/8", "10.1.0.0/16", "11.0.0.0/8", "192.0.2.1/32", "2001:db8::/32", "::ffff:203.0.113.0/120"];
        let set = Addresses::new(&networks.map(|network| network.parse().unwrap()));
        assert_eq!(set.0.len(), 4, "what touches is one range");
        let cases = [
            ("10.0.0.0", true),
            ("11.255.255.255", true),
            ("12.0.0.0", false),
            ("9.255.255.255", false),
            ("192.0.2.1", true),
            ("192.0.2.0", false),
            ("::ffff:10.2.3.4", true),
            ("203.0.113.9", true),
            ("203.0.114.0", false),
            ("2001:db8:ffff::1", true),
            ("2001:db9::", false),
            ("::1", false),
            ("::10.0.0.1", false),
        ];
        for (address, expected) in cases {
            assert_eq!(set.contains(address.parse().unwrap()), expected, "{address}");
        }
        assert!(!Addresses::default().contains(IpAddr::V6(Ipv6Addr::LOCALHOST)));
        let all = Addresses::new(&["::/0".parse().unwrap(), "10.0.0.0/8".parse().unwrap()]);
        assert!(all.contains("192.0.2.1".parse().unwrap()));
    }

    #[test]
    fn many_networks_are_named_in_few_words() {
        let networks: Vec<IpNet> = (0..6).map(|n| format!("10.{n}.0.0/16").parse().unwrap()).collect();
        assert_eq!(named(&networks[..1]), "10.0.0.0/16");
        assert_eq!(named(&networks), "10.0.0.0/16, 10.1.0.0/16, 10.2.0.0/16, 10.3.0.0/16 and 2 more");
    }
}
