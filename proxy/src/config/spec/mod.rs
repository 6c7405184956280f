//! A checked configuration: every name resolved to something that exists, every default filled in, every pattern
//! valid. What `compile` builds from. Holds no YAML and nothing that runs.

mod admission;
mod balance;
mod cache;
mod gateway;
mod guards;
mod http3;
mod listener;
mod middleware;
mod module;
mod protocol;
mod proxied;
mod retry;
mod route;
mod table;
mod tls;
mod tracing;
mod traffic;
mod upstream;

use std::{collections::BTreeMap, ops::Deref, sync::Arc};

use http::{HeaderName, HeaderValue, Method, StatusCode};
use imbl::{OrdMap, Vector};
use serde::{Serialize, Serializer};

pub use self::{
    admission::{Breaker, Queue},
    balance::{Affinity, Balance, Dns, Ejection, Endpoint, HashKey, HealthCheck, Panic, Probe, Resolve, SuccessRate},
    cache::Cache,
    gateway::{AccessLog, Gateway, LogFormat, LogTarget, Process, Secret},
    guards::{
        AllOr, Argon2Hash, Argon2Variant, AuthQuestion, BasicAuth, Cors, ForwardAuth, IpAccess, Maintenance,
        OriginPattern, PasswordHash, User,
    },
    http3::Http3,
    listener::{Limits, Listener, PathPolicy, Section, Treatment},
    middleware::{
        FailurePolicy, Grants, HeaderEdits, Isolation, Middleware, Mirror, PathEdit, Plugin, PluginLimits, ProxyWasm,
        Redirect, Respond, Rewrite,
    },
    module::{Credentials, ModuleHost, ModuleSources, ModuleTerms, Remote, Signature, SignedBy},
    protocol::{Protocol, UpstreamHttp2},
    proxied::{ProxyProtocol, ProxyVersion},
    retry::{Budget, CallStatus, Conditions, Hedge, Methods, Retry, RouteTerms},
    route::{Destination, FieldMatch, HostPattern, Match, PathPattern, REGEX_BYTES_MAX, Route, Target, ValuePattern},
    table::{FromTable, Table, TableLimits},
    tls::{Alpn, Certificate, ClientCertificates, ListenerTls, Pem, SubjectAltName, TlsVersion, UpstreamTls},
    tracing::{Export, Otlp, Sample, Tracing},
    traffic::{Coding, Compress, CompressLevels, Concurrency, ConcurrencyKey, Decompress, RequestId, TypePattern},
    upstream::Upstream,
};
use super::{diagnostic::Place, render::Origins};
use crate::identity::Identity;

/// A checked part with its identity (over `value` alone) and the place that defines it.
#[derive(Clone, Debug)]
pub struct Part<T> {
    /// Equal content, equal identity, whatever file or line it stands in.
    pub identity: Identity,
    /// Where it is defined.
    pub place: Place,
    /// The checked value.
    pub value: T,
}

impl<T: Serialize> Part<T> {
    /// A part with its identity computed.
    pub fn new(place: Place, value: T) -> Self {
        Self { identity: Identity::of(&value), place, value }
    }
}

/// Equal where their content is, wherever they are defined.
impl<T> PartialEq for Part<T> {
    fn eq(&self, other: &Self) -> bool {
        self.identity == other.identity
    }
}

impl<T> Deref for Part<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

/// Names of listeners, upstreams, middleware, routes.
pub type Name = Arc<str>;

/// A whole checked configuration. What there may be many of is shared between versions.
#[derive(Clone, Debug, Default)]
pub struct Spec {
    /// Settings of the process and gateway-wide ones.
    pub gateway: Gateway,
    /// By name.
    pub listeners: BTreeMap<Name, Arc<Part<Listener>>>,
    /// By name; those that routes name in place (`target:`) are called after their address.
    pub upstreams: OrdMap<Name, Arc<Part<Upstream>>>,
    /// By name; inline definitions are called `<route id>/<position>`, from 1.
    pub middleware: OrdMap<Name, Arc<Part<Middleware>>>,
    /// By name.
    pub tables: BTreeMap<Name, Arc<Part<Table>>>,
    /// Those of documents, and after compilation those of tables. In order of precedence where nothing else decides: layer, then document path, then position.
    pub routes: Vector<Arc<Part<Route>>>,
    /// Where all of it was written, for [`super::render::yaml`].
    pub origins: Origins,
}

fn strings<S: Serializer>(names: &[HeaderName], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(names.iter().map(HeaderName::as_str))
}

fn fields<S: Serializer>(fields: &[(HeaderName, HeaderValue)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(fields.iter().map(|(name, value)| (name.as_str(), value.as_bytes())))
}

fn status<S: Serializer>(status: &StatusCode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u16(status.as_u16())
}

fn method<S: Serializer>(method: &Option<Method>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(method.as_ref().map_or("*", Method::as_str))
}
