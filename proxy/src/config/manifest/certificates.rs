//! Certificates of Gateways: Secrets that `certificateRefs` name, where a ReferenceGrant lets them be named from another
//! namespace. What a Secret holds goes into no message.

use std::{collections::BTreeMap, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{
    findings::Findings,
    grants,
    inventory::{Inventory, Named, text},
    raw,
    settings::{CERTIFICATE, KEY},
    write,
};
use crate::config::node::{Node, Pos};

/// The Secrets at hand, and those that were asked for.
pub(super) struct Certificates<'a> {
    inventory: &'a Inventory,
    /// What `${secret:NAMESPACE/NAME/KEY}` stands for.
    pub(super) secrets: BTreeMap<Arc<str>, Arc<str>>,
}

impl<'a> Certificates<'a> {
    /// Those of `inventory`.
    pub(super) const fn of(inventory: &'a Inventory) -> Self {
        Self { inventory, secrets: BTreeMap::new() }
    }

    /// Certificate and key of each reference of a listener that holds. A listener with none is not served, which is said.
    pub(super) fn of_listener(
        &mut self,
        gateway: &Named<raw::Gateway>,
        listener: &raw::Listener,
        pos: Pos,
        findings: &mut Findings,
    ) -> Vec<(Node, Node)> {
        let name = listener.name.clone().value().unwrap_or_default();
        let tls = listener.tls.clone().value().unwrap_or_default();
        findings.unsupported(gateway, "tls.frontendValidation", tls.frontend_validation.pos());
        let mut found = Vec::new();
        let file = |name| gateway.annotations.get(name).map(|(path, pos): &(String, Pos)| write::text(path, *pos));
        found.extend(file(CERTIFICATE).zip(file(KEY)));
        if tls.mode.value().is_some_and(|mode| mode != "Terminate") {
            let message = format!("the listener `{name}` is not served: TLS is not ended there");
            findings.about(gateway, "unsupported", pos, &message, "write `mode: Terminate`");
            return Vec::new();
        }
        for (reference, pos) in tls.certificate_refs.value().unwrap_or_default().into_iter().filter_map(|it| it.spot())
        {
            match self.secret(gateway, &reference, pos) {
                Ok(pair) => found.push(pair),
                Err(why) => {
                    let hint = "add the Secret (kubernetes.io/tls), and a ReferenceGrant if it is in another namespace";
                    findings.about(gateway, "unresolved", pos, &format!("of the listener `{name}`: {why}"), hint);
                }
            }
        }
        if found.is_empty() {
            let hint = "name a Secret in `tls.certificateRefs`, or files by annotation";
            let message = format!("the listener `{name}` is not served: it has no certificate");
            findings.about(gateway, "no-certificate", pos, &message, hint);
        }
        found
    }

    fn secret(
        &mut self,
        gateway: &Named<raw::Gateway>,
        reference: &raw::ObjectRef,
        pos: Pos,
    ) -> Result<(Node, Node), String> {
        let group = reference.group.clone().value().unwrap_or_default();
        let kind = reference.kind.clone().value().unwrap_or_else(|| "Secret".into());
        if !group.is_empty() || kind != "Secret" {
            return Err(format!("a {kind} is no certificate"));
        }
        let name = reference.name.clone().value().unwrap_or_default();
        let namespace = reference.namespace.clone().value().unwrap_or_else(|| gateway.namespace.clone());
        let from = ("Gateway", &*gateway.namespace);
        if namespace != gateway.namespace && !grants::allow(self.inventory, from, ("Secret", &namespace, &name)) {
            return Err(format!("no ReferenceGrant lets it name the Secret `{namespace}/{name}`"));
        }
        let key = (namespace.clone(), name.clone());
        let secret =
            self.inventory.secrets.get(&key).ok_or_else(|| format!("there is no Secret `{namespace}/{name}`"))?;
        let mut one = |key: &str, is: &str| {
            let content = content(&secret.spec, key).filter(|text| text.contains("-----BEGIN") && text.contains(is));
            let content =
                content.ok_or_else(|| format!("the Secret `{namespace}/{name}` has no `{key}` that is PEM"))?;
            let path = format!("{namespace}/{name}/{key}");
            self.secrets.insert(path.as_str().into(), content.into());
            Ok::<_, String>(write::text(&format!("${{secret:{path}}}"), pos))
        };
        Ok((one("tls.crt", "CERTIFICATE")?, one("tls.key", "PRIVATE KEY")?))
    }
}

// `data` is in base64, `stringData` as it is.
fn content(secret: &Node, key: &str) -> Option<String> {
    if let Some(plain) = secret.find("stringData").and_then(|data| data.find(key)).and_then(text) {
        return Some(plain.to_owned());
    }
    let coded = secret.find("data")?.find(key).and_then(text)?;
    let coded: String = coded.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    String::from_utf8(STANDARD.decode(coded).ok()?).ok()
}
