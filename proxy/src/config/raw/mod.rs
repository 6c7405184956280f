//! What people write: serde types whose fields are those of the YAML, in kebab case, each with its documentation. The
//! configuration reference is generated from these types. Nothing here is checked beyond its shape; `check` does that.

mod admission;
mod balance;
mod cache;
mod field;
mod gateway;
mod guards;
mod http3;
mod listener;
mod manifests;
mod middleware;
mod module;
mod protocol;
mod proxied;
mod retry;
mod route;
mod scalar;
mod table;
mod tls;
mod tracing;
mod traffic;
mod upstream;

pub(crate) use admission::{Breaker, Queue};
pub(crate) use balance::{
    Affinity, Balance, BalanceForm, Dns, Ejection, Endpoint, EndpointForm, GrpcCheck, HashForm, HashName, HashSource,
    HashWord, HealthCheck, Initially, Policy, Resolve, SameSite,
};
pub(crate) use cache::Cache;
pub(crate) use field::{Entries, Field, OneOrMany};
pub(crate) use gateway::{AccessLog, Admin, FormatForm, Gateway};
pub(crate) use guards::{BasicAuth, Cors, ForwardAuth, IpAccess, Maintenance};
pub(crate) use http3::Http3;
pub(crate) use listener::{Limits, Listener, PathPolicy, Section, Treatment};
pub(crate) use manifests::{Manifests, Services};
pub(crate) use middleware::{
    Any, FailurePolicy, Grants, HeaderEdits, Headers, Isolation, Middleware, Mirror, PathEditForm, PluginLimits,
    ProxyWasm, Redirect, Respond, Rewrite, Step,
};
pub(crate) use module::{Module, ModuleForm, ModuleHost, Modules, SignedBy};
pub(crate) use protocol::{GrpcWeb, Protocol, UpstreamHttp2};
pub(crate) use proxied::{ProxyMode, ProxyProtocol, ProxyVersion};
pub(crate) use retry::{Hedge, Retry, RetryBudget};
pub(crate) use route::{Match, PathForm, Route, Target, ValueForm};
pub(crate) use scalar::{Count, Limit, Percent, Period, Size, Text};
pub(crate) use table::{Table, TableLimits};
pub(crate) use tls::{Alpn, Certificate, ClientCertificates, ClientMode, ListenerTls, UpstreamTls};
pub(crate) use tracing::{Otlp, OtlpProtocol, Sample, SampleParent, Tracing};
pub(crate) use traffic::{Coding, Compress, Concurrency, ConcurrencyKeyForm, Decompress, RequestId};
pub(crate) use upstream::Upstream;

use schemars::JsonSchema;

/// A document. Every document of a tree may hold any of these sections; objects merge by name. Two documents of one
/// layer may not define the same name; a later layer overrides an earlier one by name.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
#[expect(dead_code, reason = "documents are split into objects before they are read; this is their schema")]
pub(crate) struct Document {
    /// Settings of the whole gateway.
    #[schemars(default)]
    gateway: Field<Gateway>,
    /// Addresses that clients connect to, by name. At least one in the whole tree.
    #[schemars(default)]
    listeners: Field<Entries<Listener>>,
    /// Sets of endpoints that serve the same thing, by name.
    #[schemars(default)]
    upstreams: Field<Entries<Upstream>>,
    /// Configured steps, by name, for `middleware` lists to refer to.
    #[schemars(default)]
    middleware: Field<Entries<Middleware>>,
    /// Modules that yield routes, by name.
    #[schemars(default)]
    tables: Field<Entries<Table>>,
    /// Routes: a list in which each has an `id`, or a map from ids to routes.
    #[schemars(default)]
    routes: Field<Vec<Field<Route>>>,
}
