//! Which certificates clients of a Gateway are asked for: `spec.tls.frontend`, for all ports or for one, and what a listener
//! of an earlier version of the API says itself.

use super::{
    certificates::Certificates,
    inventory::Named,
    raw,
    write::{self, Map},
};
use crate::config::node::{Node, Pos};

/// What clients are asked for.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    authority: String,
    lenient: bool,
    pos: Pos,
}

/// Of one Gateway: what clients are asked for, or why nobody could be verified.
pub(super) struct Clients {
    all: Verdict,
    ports: Vec<(u16, Verdict)>,
}

type Verdict = Result<Option<Asked>, String>;

impl Clients {
    /// What `gateway` says.
    pub(super) fn of(gateway: &Named<raw::Gateway>, certificates: &mut Certificates<'_>) -> Self {
        let tls = gateway.spec.tls.clone().value().unwrap_or_default();
        let frontend = tls.frontend.value().unwrap_or_default();
        let mut verdict = |tls: raw::PortTls| asked(tls.validation, gateway, certificates);
        let all = verdict(frontend.default.value().unwrap_or_default());
        let ports = frontend.per_port.value().unwrap_or_default().into_iter().filter_map(|it| it.value());
        let ports = ports.filter_map(|it| Some((it.port.value()?, verdict(it.tls.value().unwrap_or_default()))));
        Self { all, ports: ports.collect() }
    }

    /// What clients of a listener are asked for.
    pub(super) fn of_port(
        &self,
        port: u16,
        listener: &raw::Listener,
        gateway: &Named<raw::Gateway>,
        certificates: &mut Certificates<'_>,
    ) -> Verdict {
        let own = listener.tls.clone().value().unwrap_or_default().frontend_validation;
        if own.pos().is_some() {
            return asked(own, gateway, certificates);
        }
        self.ports.iter().find(|(own, _)| *own == port).map_or(&self.all, |(_, verdict)| verdict).clone()
    }
}

fn asked(
    field: crate::config::raw::Field<raw::ClientValidation>,
    gateway: &Named<raw::Gateway>,
    certificates: &mut Certificates<'_>,
) -> Verdict {
    let Some((validation, pos)) = field.spot() else { return Ok(None) };
    let lenient = match validation.mode.value().as_deref() {
        None | Some("AllowValidOnly") => false,
        Some("AllowInsecureFallback") => true,
        Some(other) => return Err(format!("`{other}` is no mode of client validation")),
    };
    let authority = certificates.authority(&validation.ca_certificate_refs, ("Gateway", &gateway.namespace))?;
    Ok(Some(Asked { authority, lenient, pos }))
}

impl Asked {
    /// What tells it from others.
    pub(super) fn key(&self) -> (&str, bool) {
        (&self.authority, self.lenient)
    }

    /// As the native form says it.
    pub(super) fn node(self) -> Node {
        let mode = if self.lenient { "optional-unverified" } else { "required" };
        let map = Map::at(self.pos).with("ca", write::text(&self.authority, self.pos));
        map.with("mode", write::text(mode, self.pos)).node()
    }
}
