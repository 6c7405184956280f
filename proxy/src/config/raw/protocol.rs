//! What is spoken to the endpoints of an upstream. Knows nothing of connections.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Count, Field, Period};

/// What is spoken to endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub(crate) enum Protocol {
    Auto,
    Http1,
    H2,
    H2c,
}

/// Translates grpc-web to gRPC, and the answers back.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct GrpcWeb {}

/// How HTTP/2 is spoken to endpoints.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct UpstreamHttp2 {
    /// Streams at a time on one connection, where the endpoint allows as many. Over it: another connection.
    #[schemars(extend("x-default" = "128"))]
    pub(crate) streams_max: Field<Count>,
    /// After so long without an answer on a connection with open streams, a PING asks whether it still stands.
    #[schemars(extend("x-default" = "10s"))]
    pub(crate) ping_after: Field<Period>,
    /// Until the answer to a PING. Over it: the connection is given up.
    #[schemars(extend("x-default" = "10s"))]
    pub(crate) ping_timeout: Field<Period>,
}
