//! The PROXY protocol of listeners: who may say who a client is. Knows no header.

use std::{net::IpAddr, time::Duration};

use ipnet::IpNet;
use serde::Serialize;

/// The PROXY protocol of a listener.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProxyProtocol {
    /// Whether every connection must begin with a header.
    pub required: bool,
    /// Whose headers are believed.
    pub from: Vec<IpNet>,
    /// From an accepted connection to the end of the header.
    pub header_timeout: Duration,
    /// A header.
    pub header_bytes_max: usize,
}

impl ProxyProtocol {
    /// Whether headers from `address` are believed. An IPv4 address that came over an IPv6 socket is that IPv4 address.
    pub fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.from.iter().any(|net| net.contains(&address))
    }

    /// Whether a connection for which `proxy` spoke, or none, would be taken.
    pub fn takes(&self, proxy: Option<IpAddr>) -> bool {
        proxy.map_or(!self.required, |proxy| self.trusts(proxy))
    }

    /// Whether a connection that a listener took when this was `before` may be one that it would not take `now`.
    pub fn narrows(before: Option<&Self>, now: Option<&Self>) -> bool {
        let Some(now) = now else { return false };
        before.is_none_or(|before| {
            now.required && !before.required || before.from.iter().any(|net| !now.from.contains(net))
        })
    }
}

/// A version of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum ProxyVersion {
    /// A line.
    V1,
    /// Binary.
    V2,
}
