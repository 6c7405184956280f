//! Middleware: plugins and the built-in steps. Knows nothing of what they do.

use std::{borrow::Cow, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer, value::SeqAccessDeserializer},
};
use serde_json::Number;

use super::{
    BasicAuth, Cache, Compress, Concurrency, Cors, Count, Decompress, Entries, Field, ForwardAuth, GrpcWeb, IpAccess,
    Limit, Maintenance, ModuleForm, OneOrMany, Period, RequestId, Size, Text,
};

/// A configured step. Exactly one of `module`, `chain` and the built-in steps (`headers` and what follows) says what it
/// is; the fields `config`, `grants`, `limits`, `on-failure`, `isolation`,
/// `environment` and `proxy-wasm` go with `module`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct Middleware {
    /// A plugin: the path of a `.wasm` or `.wat` module, from the root of the configuration; a registry's reference
    /// `oci://REGISTRY/REPOSITORY@sha256:DIGEST`; or a map.
    pub(crate) module: Field<ModuleForm>,
    /// What the plugin is configured with: any value. `${env:NAME}` and `${file:PATH}` in its texts are replaced.
    pub(crate) config: Field<Any>,
    /// What the plugin may do beyond the request at hand.
    pub(crate) grants: Field<Grants>,
    /// What the plugin may use.
    pub(crate) limits: Field<PluginLimits>,
    /// What happens to an exchange whose plugin fails: `closed` answers 503, `open` skips the plugin; `previous` answers
    /// 503, and where the plugin is left alone for failing, the last module and `config` of it that worked serve in its
    /// place, until the configuration has another one.
    #[schemars(extend("x-default" = "closed"))]
    pub(crate) on_failure: Field<FailurePolicy>,
    /// `reused`: a guest serves one exchange after another; `per-request`: each exchange gets a fresh one.
    #[schemars(extend("x-default" = "reused"))]
    pub(crate) isolation: Field<Isolation>,
    /// Environment variables that a module with WASI sees (http-wasm, Proxy-Wasm, `wasi:http`), by name; it sees no others. A value
    /// may be `${env:NAME}`.
    pub(crate) environment: Field<Entries<Text>>,
    /// What a Proxy-Wasm module is told beside its configuration; other modules have no use for it.
    pub(crate) proxy_wasm: Field<ProxyWasm>,
    /// Edits header fields.
    pub(crate) headers: Field<Headers>,
    /// Answers with a redirect.
    pub(crate) redirect: Field<Redirect>,
    /// Changes host or path of the request.
    pub(crate) rewrite: Field<Rewrite>,
    /// Answers with something fixed.
    pub(crate) respond: Field<Respond>,
    /// Sends a copy of the request to an upstream and ignores the answer.
    pub(crate) mirror: Field<Mirror>,
    /// Cross-origin resource sharing.
    pub(crate) cors: Field<Cors>,
    /// Lets clients pass, or not, by their address.
    pub(crate) ip_access: Field<IpAccess>,
    /// Gives every exchange an id.
    pub(crate) request_id: Field<RequestId>,
    /// HTTP basic authentication.
    pub(crate) basic_auth: Field<BasicAuth>,
    /// Asks an upstream whether a request may pass.
    pub(crate) forward_auth: Field<ForwardAuth>,
    /// Shows a page in place of everything.
    pub(crate) maintenance: Field<Maintenance>,
    /// Compresses responses.
    pub(crate) compress: Field<Compress>,
    /// Decompresses request bodies.
    pub(crate) decompress: Field<Decompress>,
    /// Bounds how many exchanges are under way at a time.
    pub(crate) concurrency: Field<Concurrency>,
    /// Keeps responses and answers with them.
    pub(crate) cache: Field<Cache>,
    /// Translates grpc-web to gRPC, and the answers back.
    pub(crate) grpc_web: Field<GrpcWeb>,
    /// Other middleware, in this order: names and inline definitions.
    pub(crate) chain: Field<Vec<Field<Step>>>,
}

/// The name of a middleware, or an inline definition.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(untagged, inline)]
pub(crate) enum Step {
    Text(String),
    Map(Box<Middleware>),
}

/// Capabilities of a plugin. Clock, random bytes, log, metrics and its own key-value space are always there.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct Grants {
    /// Upstreams that it may call.
    #[schemars(extend("x-default" = "[]"))]
    pub(crate) upstreams: Field<Vec<Field<String>>>,
    /// Authorities elsewhere that a `wasi:http` component may send requests to: `HOST:PORT`, or `https://HOST[:PORT]`.
    #[schemars(extend("x-default" = "[]"))]
    pub(crate) hosts: Field<Vec<Field<String>>>,
}

/// Settings of a Proxy-Wasm plugin, by the names that Envoy has for them.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct ProxyWasm {
    /// Which of a module's root contexts it is, where a module has several.
    pub(crate) root_id: Field<Text>,
    /// Plugins of one name share data and queues, and also a VM where module, `vm-config` and `environment` are equal.
    #[schemars(extend("x-default" = "the middleware's own name"))]
    pub(crate) vm_id: Field<Text>,
    /// What the VM is configured with: a text as it is, anything else as JSON.
    pub(crate) vm_config: Field<Any>,
    /// Environment variables; the module sees no others.
    pub(crate) environment: Field<Entries<Text>>,
    /// Upstreams by the names that the module has for them, where those are others (`outbound|80||auth.example`).
    pub(crate) clusters: Field<Entries<Text>>,
    /// Whether a head that pauses is held back alone while its body is shown, as Envoy's setting of this name has it.
    #[schemars(extend("x-default" = false))]
    pub(crate) allow_on_headers_stop_iteration: Field<bool>,
    /// Whether the route stays when the plugin changes the head of a request. Otherwise it is chosen anew, as in Envoy.
    #[schemars(extend("x-default" = false))]
    pub(crate) keep_route: Field<bool>,
}

/// Bounds of a plugin.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct PluginLimits {
    /// Linear memory of one guest.
    #[schemars(extend("x-default" = "32MiB; 256MiB for Proxy-Wasm, 128MiB for http-wasm and wasi:http"))]
    pub(crate) memory_bytes_max: Field<Size>,
    /// Of one call into the guest, waiting included.
    #[schemars(extend("x-default" = "500ms"))]
    pub(crate) call_timeout: Field<Period>,
    /// Of all calls of one exchange, waiting included.
    #[schemars(extend("x-default" = "5s"))]
    pub(crate) exchange_timeout: Field<Period>,
    /// Guests that may be busy or suspended at a time, in the whole process. Over it: the failure policy.
    #[schemars(extend("x-default" = "1024"))]
    pub(crate) guests_max: Field<Count>,
    /// A body that it wants buffered. Over it: 413 for requests, the failure policy for responses.
    #[schemars(extend("x-default" = "1MiB"))]
    pub(crate) buffer_bytes_max: Field<Size>,
    /// What it may keep from request to response.
    #[schemars(extend("x-default" = "64KiB"))]
    pub(crate) state_bytes_max: Field<Size>,
    /// Its key-value space: keys and values together.
    #[schemars(extend("x-default" = "16MiB"))]
    pub(crate) kv_bytes_max: Field<Size>,
    /// One log message.
    #[schemars(extend("x-default" = "8KiB"))]
    pub(crate) log_bytes_max: Field<Size>,
    /// Calls to upstreams in one exchange.
    #[schemars(extend("x-default" = "16"))]
    pub(crate) calls_max: Field<Count>,
    /// A response to such a call, head and body.
    #[schemars(extend("x-default" = "4MiB"))]
    pub(crate) call_bytes_max: Field<Size>,
    /// Failures in a row on a worker, without one success between them, after which the plugin is left alone there and
    /// its failure policy is followed at once.
    #[schemars(extend("x-default" = "20"))]
    pub(crate) failures_max: Field<Count>,
    /// For how long. Then one call tries it again.
    #[schemars(extend("x-default" = "1s"))]
    pub(crate) cool_down: Field<Period>,
    /// Calls into a guest after which a fresh one takes its place.
    #[schemars(extend("x-default" = "unlimited"))]
    pub(crate) guest_calls_max: Field<Limit<Count>>,
    /// Linear memory of a guest over which a fresh one takes its place once it has answered.
    #[schemars(extend("x-default" = "unlimited"))]
    pub(crate) guest_bytes_max: Field<Limit<Size>>,
}

/// What happens when a plugin fails.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub(crate) enum FailurePolicy {
    Closed,
    Open,
    Previous,
}

/// How guests are shared between exchanges.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub(crate) enum Isolation {
    Reused,
    PerRequest,
}

/// Edits of header fields.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct Headers {
    /// Of requests.
    pub(crate) request: Field<HeaderEdits>,
    /// Of responses.
    pub(crate) response: Field<HeaderEdits>,
}

/// Changes to header fields, applied in the order remove, set, add.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct HeaderEdits {
    /// Fields to overwrite, by name.
    pub(crate) set: Field<Entries<Text>>,
    /// Fields to add a value to, or a list of values, by name.
    pub(crate) add: Field<Entries<OneOrMany<Text>>>,
    /// Fields to remove.
    pub(crate) remove: Field<Vec<Field<String>>>,
}

/// A redirect, as the Gateway API's `HTTPRequestRedirectFilter`: what is not given stays as it was asked for.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct Redirect {
    /// `http` or `https`.
    pub(crate) scheme: Field<String>,
    /// Without port.
    pub(crate) host: Field<String>,
    /// Where not given: the well-known port of the scheme if one is given, else the listener's.
    pub(crate) port: Field<u16>,
    /// The new path: the whole of it, or a map with `full` or `prefix`.
    pub(crate) path: Field<PathEditForm>,
    /// 301, 302, 303, 307 or 308.
    #[schemars(extend("x-default" = "302"))]
    pub(crate) status: Field<u16>,
}

/// A rewrite, as the Gateway API's `HTTPURLRewriteFilter`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct Rewrite {
    /// The new `Host`.
    pub(crate) host: Field<String>,
    /// The new path: the whole of it, or a map with `full` or `prefix`.
    pub(crate) path: Field<PathEditForm>,
}

/// The whole new path, or a map.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(untagged, inline)]
pub(crate) enum PathEditForm {
    Text(String),
    Map(PathEdit),
}

/// A change of path; exactly one of these.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct PathEdit {
    /// Replaces the whole path.
    pub(crate) full: Field<String>,
    /// Replaces the prefix that the route matched.
    pub(crate) prefix: Field<String>,
}

/// A fixed response.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct Respond {
    /// Its status, 200 to 599.
    #[schemars(extend("x-default" = "200"))]
    pub(crate) status: Field<u16>,
    /// Its fields, by name.
    pub(crate) headers: Field<Entries<OneOrMany<Text>>>,
    /// Its body.
    #[schemars(extend("x-default" = "empty"))]
    pub(crate) body: Field<Text>,
}

/// A copy of requests.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct Mirror {
    /// Where the copy goes. Required.
    pub(crate) upstream: Field<String>,
    /// Share of the exchanges that are copied, 0 to 100.
    #[schemars(extend("x-default" = "100"))]
    pub(crate) percent: Field<f64>,
    /// Request bodies up to this size are copied; larger ones are not mirrored.
    #[schemars(extend("x-default" = "64KiB"))]
    pub(crate) body_bytes_max: Field<Size>,
}

/// Any value, with positions all the way down.
#[derive(Clone, Debug)]
pub(crate) enum Any {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Field<Self>>),
    Map(Entries<Self>),
}

impl<'de> Deserialize<'de> for Any {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyVisitor)
    }
}

struct AnyVisitor;

impl<'de> Visitor<'de> for AnyVisitor {
    type Value = Any;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<Any, E> {
        Ok(Any::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Any, E> {
        Ok(Any::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Any, E> {
        Ok(Any::Number(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Any, E> {
        Ok(Any::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Any, E> {
        Ok(Number::from_f64(value).map_or(Any::Null, Any::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Any, E> {
        Ok(Any::Text(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Any, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(items)).map(Any::List)
    }

    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<Any, A::Error> {
        Entries::deserialize(MapAccessDeserializer::new(entries)).map(Any::Map)
    }
}

impl JsonSchema for Any {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Any".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({ "format": "any value" })
    }
}
