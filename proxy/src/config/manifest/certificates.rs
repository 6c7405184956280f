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
use x509_parser::pem::Pem;

/// A certificate and its key, as the native form names them.
pub(super) type Pair = (Node, Node);

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
    pub(super) fn of_listener<S>(
        &mut self,
        gateway: &Named<S>,
        listener: &raw::Listener,
        pos: Pos,
        findings: &mut Findings,
    ) -> Vec<Pair> {
        let name = listener.name.clone().value().unwrap_or_default();
        let tls = listener.tls.clone().value().unwrap_or_default();
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
            match self.secret((gateway.kind, &gateway.namespace), &reference, pos) {
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

    /// What a Gateway shows of itself to backends that ask for it, if it says so. One that does not resolve is said.
    pub(super) fn shown_by(&mut self, gateway: &Named<raw::Gateway>, findings: &mut Findings) -> Option<Pair> {
        let tls = gateway.spec.tls.clone().value().unwrap_or_default();
        let backend = tls.backend.value().or_else(|| gateway.spec.backend_tls.clone().value())?;
        let (reference, pos) = backend.client_certificate_ref.spot()?;
        let found = self.secret(("Gateway", &gateway.namespace), &reference, pos);
        found
            .map_err(|why| {
                let message = format!("no certificate is shown to backends: {why}");
                let hint = "add the Secret (kubernetes.io/tls), and a ReferenceGrant if it is in another namespace";
                findings.about(gateway, "unresolved", pos, &message, hint);
            })
            .ok()
    }

    /// The certificates of those who may sign for others, of all references together: entries `ca.crt` of ConfigMaps or
    /// Secrets, as the native form names them.
    pub(super) fn authority(
        &mut self,
        references: &raw::List<raw::ObjectRef>,
        (from, from_namespace): (&str, &str),
    ) -> Result<String, String> {
        let (mut names, mut texts) = (Vec::new(), Vec::new());
        for reference in references.clone().value().unwrap_or_default().into_iter().filter_map(|it| it.value()) {
            let kind = reference.kind.clone().value().unwrap_or_else(|| "ConfigMap".into());
            let name = reference.name.clone().value().unwrap_or_default();
            let namespace = reference.namespace.clone().value().unwrap_or_else(|| from_namespace.to_owned());
            let title = format!("{kind} `{namespace}/{name}`");
            let objects = match (&*reference.group.clone().value().unwrap_or_default(), &*kind) {
                ("", "ConfigMap") => &self.inventory.config_maps,
                ("", "Secret") => &self.inventory.secrets,
                _ => return Err(format!("a {kind} holds no certificates of an authority")),
            };
            let granted = || grants::allow(self.inventory, (from, from_namespace), (&kind, &namespace, &name));
            if namespace != from_namespace && !granted() {
                return Err(format!("no ReferenceGrant lets it name the {title}"));
            }
            let object = objects.get(&(namespace.clone(), name.clone()));
            let object = object.ok_or_else(|| format!("there is no {title}"))?;
            let content =
                if kind == "ConfigMap" { entry(&object.spec, "ca.crt") } else { content(&object.spec, "ca.crt") };
            let content = content.filter(|text| is_authority(text));
            texts.push(content.ok_or_else(|| format!("the {title} has no `ca.crt` that is a certificate in PEM"))?);
            names.push(format!("{namespace}/{kind}/{name}/ca.crt"));
        }
        if names.is_empty() {
            return Err("it names no certificate of an authority".into());
        }
        let path = names.join("+");
        self.secrets.insert(path.as_str().into(), texts.join("\n").into());
        Ok(format!("${{secret:{path}}}"))
    }

    fn secret(&mut self, from: (&str, &str), reference: &raw::ObjectRef, pos: Pos) -> Result<Pair, String> {
        let group = reference.group.clone().value().unwrap_or_default();
        let kind = reference.kind.clone().value().unwrap_or_else(|| "Secret".into());
        if !group.is_empty() || kind != "Secret" {
            return Err(format!("a {kind} is no certificate"));
        }
        let name = reference.name.clone().value().unwrap_or_default();
        let namespace = reference.namespace.clone().value().unwrap_or_else(|| from.1.to_owned());
        if namespace != from.1 && !grants::allow(self.inventory, from, ("Secret", &namespace, &name)) {
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

fn entry(map: &Node, key: &str) -> Option<String> {
    map.find("data")?.find(key).and_then(text).map(str::to_owned)
}

// Whether there is a certificate in it, and nothing that is none.
fn is_authority(pem: &str) -> bool {
    let blocks: Vec<_> = Pem::iter_from_buffer(pem.as_bytes()).collect();
    let is_one = |block: &Pem| block.label == "CERTIFICATE" && block.parse_x509().is_ok();
    !blocks.is_empty() && blocks.iter().all(|block| block.as_ref().is_ok_and(is_one))
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
