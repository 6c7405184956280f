//! The manifests of a tree by what they are: read, named, and those of a later layer in the place of an earlier one's.
//! Knows which kinds there are, and nothing of what they come to.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use serde::{Deserialize, de::DeserializeOwned};

use super::{
    findings::Findings,
    raw::{self, Unsupported},
};
use crate::config::{
    decode::decode,
    node::{Node, Pos, Value},
    raw::{Entries, Field, Text},
    suggest,
};

/// A manifest as a document holds it: a map with `apiVersion` and `kind`.
#[derive(Debug)]
pub(crate) struct Manifest {
    pub(crate) node: Node,
    pub(crate) file: Arc<str>,
}

/// A read object with its names.
#[derive(Debug)]
pub(super) struct Named<S> {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) kind: &'static str,
    pub(super) at: Pos,
    pub(super) file: Arc<str>,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) annotations: BTreeMap<String, (String, Pos)>,
    /// RFC 3339; what has none is the youngest.
    pub(super) created: Option<String>,
    pub(super) spec: S,
}

/// Namespace and name.
pub(super) type Id = (String, String);

/// All that is read.
#[derive(Debug, Default)]
pub(super) struct Inventory {
    pub(super) gateways: Vec<Named<raw::Gateway>>,
    pub(super) http_routes: Vec<Named<raw::HttpRoute>>,
    pub(super) grpc_routes: Vec<Named<raw::GrpcRoute>>,
    pub(super) grants: Vec<Named<raw::Grant>>,
    pub(super) listener_sets: Vec<Named<raw::ListenerSet>>,
    pub(super) policies: Vec<Named<raw::BackendTlsPolicy>>,
    pub(super) services: HashMap<Id, Named<Node>>,
    pub(super) slices: Vec<Named<Node>>,
    pub(super) endpoints: HashMap<Id, Named<Node>>,
    pub(super) secrets: BTreeMap<Id, Named<Node>>,
    pub(super) config_maps: BTreeMap<Id, Named<Node>>,
    pub(super) namespaces: HashMap<String, Named<Node>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Whole<S> {
    api_version: Field<String>,
    kind: Field<String>,
    metadata: Field<raw::Metadata>,
    spec: Field<S>,
    status: Unsupported,
}

const GATEWAY_GROUP: &str = "gateway.networking.k8s.io";
/// Of what is tried out.
const EXPERIMENTAL_GROUP: &str = "gateway.networking.x-k8s.io";
/// Of that group, those that are read.
const KINDS: [&str; 6] = ["Gateway", "HTTPRoute", "GRPCRoute", "ReferenceGrant", "ListenerSet", "BackendTLSPolicy"];
/// Of that group, those that are not.
const UNREAD: [&str; 4] = ["GatewayClass", "TCPRoute", "TLSRoute", "UDPRoute"];

impl Inventory {
    /// Reads manifests, given in the order of layers and documents.
    pub(super) fn read<'a>(manifests: impl Iterator<Item = (usize, &'a Manifest)>, findings: &mut Findings) -> Self {
        let mut seen: HashMap<(String, String, String), (usize, usize)> = HashMap::new();
        let mut kept: Vec<Option<(&Manifest, &str)>> = Vec::new();
        for (layer, manifest) in manifests {
            let kind = manifest.node.find("kind").and_then(text).unwrap_or_default();
            let (namespace, name) = id(&manifest.node, kind);
            // By both of its names it is the same.
            let kind = if kind == "XListenerSet" { "ListenerSet" } else { kind };
            let key = (kind.to_owned(), namespace, name);
            match seen.get(&key).copied() {
                Some((other, at)) if other == layer => {
                    if let Some((first, _)) = kept[at] {
                        findings.twice(kind, &key.2, first, manifest);
                    }
                    continue;
                }
                Some((_, at)) => kept[at] = None,
                None => {}
            }
            seen.insert(key, (layer, kept.len()));
            kept.push(Some((manifest, kind)));
        }
        let mut inventory = Self::default();
        for (manifest, kind) in kept.into_iter().flatten() {
            inventory.take(manifest, kind, findings);
        }
        inventory
    }

    fn take(&mut self, manifest: &Manifest, kind: &str, findings: &mut Findings) {
        let version = manifest.node.find("apiVersion").and_then(text).unwrap_or_default();
        let (group, _) = version.rsplit_once('/').unwrap_or(("", version));
        match (group, kind) {
            (GATEWAY_GROUP, "Gateway") => self.gateways.extend(read(manifest, "Gateway", findings)),
            (GATEWAY_GROUP, "HTTPRoute") => self.http_routes.extend(read(manifest, "HTTPRoute", findings)),
            (GATEWAY_GROUP, "GRPCRoute") => self.grpc_routes.extend(read(manifest, "GRPCRoute", findings)),
            (GATEWAY_GROUP, "ReferenceGrant") => self.grants.extend(read(manifest, "ReferenceGrant", findings)),
            (GATEWAY_GROUP | EXPERIMENTAL_GROUP, "ListenerSet") => {
                self.listener_sets.extend(read(manifest, "ListenerSet", findings));
            }
            (GATEWAY_GROUP, "BackendTLSPolicy") => self.policies.extend(read(manifest, "BackendTLSPolicy", findings)),
            ("", "Service") => drop(by_id(&mut self.services, loose(manifest, "Service", findings))),
            ("", "Endpoints") => drop(by_id(&mut self.endpoints, loose(manifest, "Endpoints", findings))),
            ("", "Secret") => {
                let read = loose(manifest, "Secret", findings);
                self.secrets.extend(read.map(|secret| ((secret.namespace.clone(), secret.name.clone()), secret)));
            }
            ("", "ConfigMap") => {
                let read = loose(manifest, "ConfigMap", findings);
                self.config_maps.extend(read.map(|map| ((map.namespace.clone(), map.name.clone()), map)));
            }
            ("", "Namespace") => {
                let read = loose(manifest, "Namespace", findings);
                self.namespaces.extend(read.map(|namespace| (namespace.name.clone(), namespace)));
            }
            ("discovery.k8s.io", "EndpointSlice") => self.slices.extend(loose(manifest, "EndpointSlice", findings)),
            (GATEWAY_GROUP, kind) if !is_known(kind) => {
                let pos = manifest.node.find("kind").map_or(manifest.node.pos, |node| node.pos);
                let hint = match suggest::nearest(kind, KINDS.into_iter()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("the kinds that are read are {}", suggest::listed(KINDS.into_iter())),
                };
                findings.error(&manifest.file, "unknown-kind", pos, format!("unknown kind `{kind}`"), hint);
            }
            (GATEWAY_GROUP | EXPERIMENTAL_GROUP, kind) if kind != "GatewayClass" => {
                let hint = "remove it, or configure the same in the native form beside it";
                let message = format!("the gateway does nothing for the kind `{kind}`");
                findings.warning(&manifest.file, "unsupported", manifest.node.pos, message, hint);
            }
            // What a cluster needs.
            _ => {}
        }
    }
}

fn is_known(kind: &str) -> bool {
    KINDS.contains(&kind) || UNREAD.contains(&kind)
}

fn by_id<S>(map: &mut HashMap<Id, Named<S>>, read: Option<Named<S>>) -> Option<Named<S>> {
    let read = read?;
    map.insert((read.namespace.clone(), read.name.clone()), read)
}

// An object of which every field is known.
fn read<S: DeserializeOwned + Default>(
    manifest: &Manifest,
    kind: &'static str,
    findings: &mut Findings,
) -> Option<Named<S>> {
    let node = without_nothing(&manifest.node);
    let (whole, faults) = decode::<Whole<S>>(&node);
    let (namespace, name) = id(&manifest.node, kind);
    faults.into_iter().for_each(|fault| findings.fault(&manifest.file, fault, node.pos, kind, &namespace, &name));
    let whole = whole?;
    let spec = whole.spec.value().unwrap_or_default();
    named(manifest, kind, whole.metadata.value().unwrap_or_default(), findings).map(|named| named.with(spec))
}

// An object of which a cluster needs more than the gateway reads.
fn loose(manifest: &Manifest, kind: &'static str, findings: &mut Findings) -> Option<Named<Node>> {
    let node = without_nothing(&manifest.node);
    let metadata = node.find("metadata").and_then(|node| decode::<raw::Metadata>(node).0);
    named(manifest, kind, metadata.unwrap_or_default(), findings).map(|named| named.with(node))
}

fn named(
    manifest: &Manifest,
    kind: &'static str,
    metadata: raw::Metadata,
    findings: &mut Findings,
) -> Option<Named<()>> {
    let Some((name, at)) = metadata.name.spot().filter(|(name, _)| !name.is_empty()) else {
        let pos = manifest.node.find("metadata").map_or(manifest.node.pos, |node| node.pos);
        let hint = "give it one: `metadata: {name: web}`";
        findings.error(&manifest.file, "missing-field", pos, format!("this {kind} has no `metadata.name`"), hint);
        return None;
    };
    let pairs = |field: Field<Entries<Text>>| field.value().unwrap_or_default().0.into_iter();
    let labels = pairs(metadata.labels).filter_map(|(key, _, value)| Some((key, value.value()?.0))).collect();
    let annotations = pairs(metadata.annotations);
    let annotations = annotations.filter_map(|(key, _, value)| value.spot().map(|(text, pos)| (key, (text.0, pos))));
    Some(Named {
        namespace: metadata.namespace.value().unwrap_or_else(|| DEFAULT_NAMESPACE.into()),
        name,
        kind,
        at,
        file: Arc::clone(&manifest.file),
        labels,
        annotations: annotations.collect(),
        created: metadata.creation_timestamp.value().map(|text| text.0),
        spec: (),
    })
}

impl<S> Named<S> {
    fn with<T>(self, spec: T) -> Named<T> {
        let Self { namespace, name, kind, at, file, labels, annotations, created, .. } = self;
        Named { namespace, name, kind, at, file, labels, annotations, created, spec }
    }

    /// The same without what it says.
    pub(super) fn names(&self) -> Named<()> {
        let Self { namespace, name, kind, at, file, labels, annotations, created, .. } = self;
        Named {
            namespace: namespace.clone(),
            name: name.clone(),
            kind,
            at: *at,
            file: Arc::clone(file),
            labels: labels.clone(),
            annotations: annotations.clone(),
            created: created.clone(),
            spec: (),
        }
    }

    /// How a message calls it.
    pub(super) fn title(&self) -> String {
        format!("{} `{}/{}`", self.kind, self.namespace, self.name)
    }
}

// What is written as nothing is as if it were not written.
fn without_nothing(node: &Node) -> Node {
    let value = match &node.value {
        Value::Map(entries) => {
            let some = entries.iter().filter(|(_, node)| node.value != Value::Null);
            Value::Map(some.map(|(key, node)| (key.clone(), without_nothing(node))).collect())
        }
        Value::List(items) => Value::List(items.iter().map(without_nothing).collect()),
        value => value.clone(),
    };
    Node { value, pos: node.pos }
}

/// The text of a node, if it is text.
pub(super) fn text(node: &Node) -> Option<&str> {
    match &node.value {
        Value::Text(text) | Value::Number(_, text) | Value::Bool(_, text) => Some(text),
        _ => None,
    }
}

fn id(node: &Node, kind: &str) -> Id {
    let metadata = |field| node.find("metadata").and_then(|metadata| metadata.find(field)).and_then(text);
    let namespace = if kind == "Namespace" { "" } else { metadata("namespace").unwrap_or(DEFAULT_NAMESPACE) };
    (namespace.to_owned(), metadata("name").unwrap_or_default().to_owned())
}

const DEFAULT_NAMESPACE: &str = "default";
