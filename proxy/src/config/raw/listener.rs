//! Listeners. Knows nothing of sockets.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Count, Entries, Field, Http3, Limit, ListenerTls, OneOrMany, Period, ProxyProtocol, Size, Step};

/// An address that clients connect to.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct Listener {
    /// `IP:PORT`; `0.0.0.0` or `[::]` is every address, port 0 a free port. Required.
    pub(crate) address: Field<String>,
    /// The port that clients connect to, where something before the gateway maps it to that of `address`: what redirects
    /// name.
    #[schemars(extend("x-default" = "that of `address`"))]
    pub(crate) public_port: Field<u16>,
    /// Parts of the listener by host, by name. A request belongs to the section with the most specific host, and only the
    /// routes that name that section (`listeners: web/shop`) or the whole listener serve it.
    #[schemars(extend("x-default" = "none: all its routes serve all its requests"))]
    pub(crate) sections: Field<Entries<Section>>,
    /// TLS; none where this is not given.
    pub(crate) tls: Field<ListenerTls>,
    /// HTTP/3 beside the others; none where this is not given. Needs `tls`.
    pub(crate) http3: Field<Http3>,
    /// PROXY protocol in front of everything else; none where this is not given.
    pub(crate) proxy_protocol: Field<ProxyProtocol>,
    /// Steps around every exchange of this listener, inside the gateway's.
    pub(crate) middleware: Field<Vec<Field<Step>>>,
    /// Networks whose `Forwarded` and `X-Forwarded-*` are believed, such as `10.0.0.0/8`.
    #[schemars(extend("x-default" = "[]"))]
    pub(crate) trusted_proxies: Field<Vec<Field<String>>>,
    /// Whether responses carry `tidegate-generation`.
    #[schemars(extend("x-default" = "false"))]
    pub(crate) generation_header: Field<bool>,
    /// How request paths are normalised.
    pub(crate) path: Field<PathPolicy>,
    /// Limits and timeouts.
    pub(crate) limits: Field<Limits>,
}

/// A part of a listener by host.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct Section {
    /// `api.example.com`, or `*.example.com` for every name below.
    #[schemars(extend("x-default" = "any that no other section takes"))]
    pub(crate) host: Field<String>,
    /// Steps around every exchange of this section, inside the listener's.
    pub(crate) middleware: Field<OneOrMany<Step>>,
}

/// How a request path is normalised before it is routed. What is routed is what is forwarded.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct PathPolicy {
    /// `.` and `..` segments, plain or percent-encoded.
    #[schemars(extend("x-default" = "normalize"))]
    pub(crate) dot_segments: Field<Treatment>,
    /// Empty segments (`//`).
    #[schemars(extend("x-default" = "normalize"))]
    pub(crate) empty_segments: Field<Treatment>,
    /// `%2f` and `%5c`, and a bare backslash.
    #[schemars(extend("x-default" = "reject"))]
    pub(crate) encoded_slashes: Field<Treatment>,
    /// `%00` and other encoded control characters.
    #[schemars(extend("x-default" = "reject"))]
    pub(crate) encoded_controls: Field<Treatment>,
}

/// `normalize`: resolve, merge or decode it; `reject`: answer 400; `keep`: leave it as it is.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub(crate) enum Treatment {
    Normalize,
    Reject,
    Keep,
}

/// Limits and timeouts of a listener; each holds for every connection or exchange of it unless it says otherwise.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct Limits {
    /// Open connections of this listener, in the whole process.
    #[schemars(extend("x-default" = "50000"))]
    pub(crate) connections_max: Field<Count>,
    /// Request line and header fields. Over it: 431.
    #[schemars(extend("x-default" = "64KiB"))]
    pub(crate) head_bytes_max: Field<Size>,
    /// Fields in a request. Over it: 431.
    #[schemars(extend("x-default" = "100"))]
    pub(crate) headers_max: Field<Count>,
    /// The request target. Over it: 414.
    #[schemars(extend("x-default" = "16KiB"))]
    pub(crate) uri_bytes_max: Field<Size>,
    /// The request body. Over it: 413.
    #[schemars(extend("x-default" = "unlimited"))]
    pub(crate) body_bytes_max: Field<Limit<Size>>,
    /// From the first byte of a head to its last. Over it: 408.
    #[schemars(extend("x-default" = "30s"))]
    pub(crate) head_timeout: Field<Period>,
    /// Between two reads of a request body. Over it: 408.
    #[schemars(extend("x-default" = "60s"))]
    pub(crate) body_idle_timeout: Field<Period>,
    /// Between two writes that the client takes. Over it the connection is closed.
    #[schemars(extend("x-default" = "60s"))]
    pub(crate) write_idle_timeout: Field<Period>,
    /// Between two requests on a connection.
    #[schemars(extend("x-default" = "75s"))]
    pub(crate) keep_alive_timeout: Field<Period>,
    /// Requests on one connection before it is closed after a response.
    #[schemars(extend("x-default" = "unlimited"))]
    pub(crate) requests_per_connection_max: Field<Limit<Count>>,
    /// Without a byte in either direction of a tunnel.
    #[schemars(extend("x-default" = "1h"))]
    pub(crate) tunnel_idle_timeout: Field<Period>,
    /// HTTP/2 streams open at a time on one connection.
    #[schemars(extend("x-default" = "128"))]
    pub(crate) streams_max: Field<Count>,
    /// HTTP/2 streams that a client may reset within 30 s before the connection is closed (rapid reset).
    #[schemars(extend("x-default" = "200"))]
    pub(crate) resets_max: Field<Count>,
    /// HTTP/2 control frames within 10 s before the connection is closed.
    #[schemars(extend("x-default" = "1000"))]
    pub(crate) control_frames_max: Field<Count>,
}
