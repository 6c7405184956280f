//! Lets clients pass, or not, by their address behind trusted proxies. `deny` is stronger than `allow`.

use super::{Edit, Flow, addresses, addresses::Addresses};
use crate::{
    config::spec,
    error::{Error, Kind},
    exchange::Request,
};

/// The step.
pub(super) struct IpAccess {
    allow: Option<Addresses>,
    deny: Addresses,
    does: String,
}

impl IpAccess {
    /// A step that lets these pass.
    pub(super) fn new(spec: &spec::IpAccess) -> Self {
        let allow = spec.allow.as_deref().map(|networks| format!("let pass {}", addresses::named(networks)));
        let deny = (!spec.deny.is_empty()).then(|| format!("refuse {}", addresses::named(&spec.deny)));
        Self {
            allow: spec.allow.as_deref().map(Addresses::new),
            deny: Addresses::new(&spec.deny),
            does: deny.into_iter().chain(allow).collect::<Vec<_>>().join(", else "),
        }
    }
}

impl Edit for IpAccess {
    fn request(&self, request: &mut Request) -> Result<Flow, Error> {
        let client = request.exchange.client;
        let why = if self.deny.contains(client) {
            "is denied"
        } else if self.allow.as_ref().is_some_and(|allow| !allow.contains(client)) {
            "is not among those that are allowed"
        } else {
            return Ok(Flow::Continue);
        };
        Err(Error::new(Kind::AccessDenied, format!("the client's address {client} {why}")))
    }

    fn takes_told(&self) -> bool {
        true
    }

    fn describe(&self) -> String {
        self.does.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use http::Method;

    use super::*;
    use crate::exchange::testing;

    #[test]
    fn deny_is_stronger_than_allow_and_allow_excludes_all_others() {
        let cases = [
            (None, "10.0.0.0/8", "192.0.2.1", true),
            (None, "10.0.0.0/8", "10.1.2.3", false),
            (Some("10.0.0.0/8"), "", "10.1.2.3", true),
            (Some("10.0.0.0/8"), "", "::ffff:10.1.2.3", true),
            (Some("10.0.0.0/8"), "", "192.0.2.1", false),
            (Some("10.0.0.0/8"), "10.1.0.0/16", "10.1.2.3", false),
            (Some("10.1.0.0/16"), "10.0.0.0/8", "10.1.2.3", false),
            (Some("10.0.0.0/8 2001:db8::/32"), "", "2001:db8::1", true),
        ];
        for (allow, deny, client, passes) in cases {
            let networks = |text: &str| text.split_whitespace().map(|network| network.parse().unwrap()).collect();
            let step = IpAccess::new(&spec::IpAccess { allow: allow.map(networks), deny: networks(deny) });
            let mut request = testing::request(Method::GET, "/");
            Rc::get_mut(&mut request.exchange).unwrap().client = client.parse().unwrap();
            let outcome = step.request(&mut request);
            assert_eq!(outcome.is_ok(), passes, "{allow:?} {deny} {client}");
            assert!(outcome.err().is_none_or(|error| error.kind() == Kind::AccessDenied));
        }
    }

    #[test]
    fn it_says_what_it_does() {
        let networks = |text: &str| vec![text.parse().unwrap()];
        let both = spec::IpAccess { allow: Some(networks("10.0.0.0/8")), deny: networks("10.0.0.1/32") };
        assert_eq!(IpAccess::new(&both).describe(), "refuse 10.0.0.1/32, else let pass 10.0.0.0/8");
    }
}
