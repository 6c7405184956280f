//! Steps that decide who may pass. Knows nothing of what they do.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Field, OneOrMany, Period, Size, Text};

/// Cross-origin resource sharing, as the Gateway API's `HTTPCORSFilter` and the Fetch standard have it.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct Cors {
    /// Origins whose pages may read responses: `https://app.example.com`, `https://*.example.com` for every host below,
    /// `*` for all. Required.
    pub(crate) allow_origins: Field<OneOrMany<String>>,
    /// Methods that pages may use beside `GET`, `HEAD` and `POST`, or `*`.
    pub(crate) allow_methods: Field<OneOrMany<String>>,
    /// Request fields that pages may set beside the safelisted ones, or `*`, which does not cover `authorization`.
    pub(crate) allow_headers: Field<OneOrMany<String>>,
    /// Response fields that pages may read beside the safelisted ones, or `*`.
    pub(crate) expose_headers: Field<OneOrMany<String>>,
    /// Whether pages may send cookies, `authorization` and client certificates.
    #[schemars(extend("x-default" = "false"))]
    pub(crate) allow_credentials: Field<bool>,
    /// How long a browser may keep the answer to a preflight.
    #[schemars(extend("x-default" = "5s"))]
    pub(crate) max_age: Field<Period>,
}

/// Who may pass, by the client's address behind trusted proxies; at least one of these. Others are answered with 403.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct IpAccess {
    /// Networks (`10.0.0.0/8`) or addresses that may pass. Where it is given, nobody else may.
    pub(crate) allow: Field<Vec<Field<String>>>,
    /// Networks or addresses that may not pass, even where `allow` has them.
    pub(crate) deny: Field<Vec<Field<String>>>,
}

/// HTTP basic authentication. Who is not verified is answered with 401.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct BasicAuth {
    /// Lines of `NAME:HASH` as `htpasswd` writes them: a list, or one text, such as `${file:users.htpasswd}`. A hash is one
    /// of bcrypt or argon2. Required.
    pub(crate) users: Field<OneOrMany<Text>>,
    /// What browsers show when they ask for a password.
    #[schemars(extend("x-default" = "restricted"))]
    pub(crate) realm: Field<String>,
    /// The field in which the upstream is told the user's name. What the client sends in it is replaced.
    pub(crate) header: Field<String>,
    /// Whether the upstream sees the password, too.
    #[schemars(extend("x-default" = "false"))]
    pub(crate) pass_credentials: Field<bool>,
}

/// A sub-request that decides who may pass: an answer of the 2xx class lets pass, any other goes to the client.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct ForwardAuth {
    /// Who is asked. Required.
    pub(crate) upstream: Field<String>,
    /// The path and query that it is asked for, with `GET`.
    #[schemars(extend("x-default" = "/"))]
    pub(crate) path: Field<String>,
    /// In place of `path`: it is asked for the request's own target behind this path (`/` for the target alone), with the
    /// request's method.
    pub(crate) path_prefix: Field<String>,
    /// In place of `path`: it is asked by gRPC, as Envoy asks (`envoy.service.auth.v3.Authorization/Check`).
    #[schemars(extend("x-default" = "false"))]
    pub(crate) grpc: Field<bool>,
    /// How much of the request's body it is sent, which then is held until it answers. Over it: 413. With 0, it is sent
    /// none.
    #[schemars(extend("x-default" = "0"))]
    pub(crate) body_bytes_max: Field<Size>,
    /// Until the head of its answer is there. Over it: 504.
    #[schemars(extend("x-default" = "5s"))]
    pub(crate) timeout: Field<Period>,
    /// Fields of the request that it is sent, beside `x-forwarded-*` and `traceparent`.
    #[schemars(extend("x-default" = "all"))]
    pub(crate) request_headers: Field<OneOrMany<String>>,
    /// Fields of its answer that the upstream is sent. What the client sends in them is removed. `*`: all but those that
    /// tell of the answer itself; not with `grpc`, whose answer says which.
    #[schemars(extend("x-default" = "[]"))]
    pub(crate) upstream_headers: Field<OneOrMany<String>>,
    /// Fields of its answer that the client is sent with the upstream's response, such as `set-cookie`.
    #[schemars(extend("x-default" = "[]"))]
    pub(crate) client_headers: Field<OneOrMany<String>>,
}

/// A page in place of everything, with 503.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct Maintenance {
    /// Whether it is shown.
    #[schemars(extend("x-default" = "true"))]
    pub(crate) enabled: Field<bool>,
    /// When clients should try again, in `Retry-After`.
    pub(crate) retry_after: Field<Period>,
    /// Networks or addresses that pass all the same.
    #[schemars(extend("x-default" = "[]"))]
    pub(crate) allow: Field<Vec<Field<String>>>,
    /// The page, such as `${file:pages/maintenance.html}`.
    #[schemars(extend("x-default" = "one plain sentence"))]
    pub(crate) body: Field<Text>,
    /// Of the page.
    #[schemars(extend("x-default" = "text/html with a `body`, else text/plain, both in UTF-8"))]
    pub(crate) content_type: Field<Text>,
}
