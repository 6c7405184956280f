//! What can go wrong with one exchange: whose fault it is, its kind, the status that the client sees, and the text
//! that only the log sees. One table, [`Kind::status`] and [`Kind::client_text`], and no second one anywhere.
//! Knows nothing of HTTP libraries beyond status codes.

use std::{borrow::Cow, fmt, time::Duration};

use http::StatusCode;

/// Whose fault a failed exchange is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The request was wrong, or its sender went away.
    Client,
    /// The gateway's own limits or a defect of ours.
    Gateway,
    /// A plugin.
    Plugin,
    /// An upstream.
    Upstream,
}

/// What happened. The single source of statuses, client texts and metric labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The request is not well-formed HTTP, or ambiguous (RFC 9112 sections 2.2, 3.2, 6.3; RFC 9113 section 8.2).
    MalformedRequest,
    /// No route matches.
    NoRoute,
    /// A method that the gateway never forwards (`CONNECT`, `TRACE`).
    MethodNotAllowed,
    /// The request expects what the gateway does not know (RFC 9110 section 10.1.1).
    ExpectationFailed,
    /// The client did not say who it is, or not convincingly (RFC 9110 section 15.5.2).
    Unauthenticated,
    /// The client may not have this (RFC 9110 section 15.5.4).
    AccessDenied,
    /// The connection may not be used for this request (RFC 9110 section 15.5.20); another one may.
    Misdirected,
    /// The client took too long to send its request.
    RequestTimeout,
    /// The request body is over its limit.
    BodyTooLarge,
    /// The request target is over its limit.
    UriTooLong,
    /// The header section is over its limit (RFC 6585 section 5).
    HeadTooLarge,
    /// The client went away before the response was complete.
    ClientGone,
    /// No connection to the upstream could be made.
    UpstreamConnect,
    /// There was no connection to the upstream within `connect-timeout`.
    UpstreamConnectTimeout,
    /// The upstream closed or reset the connection before a whole response.
    UpstreamReset,
    /// The upstream's answer is not well-formed.
    UpstreamMalformed,
    /// The upstream did not answer in time, or fell silent.
    UpstreamTimeout,
    /// One try took longer than `try-timeout`.
    UpstreamTryTimeout,
    /// The upstream fell silent within a response body for `idle-timeout`.
    UpstreamIdleTimeout,
    /// Every endpoint that may be used has `connections-max` connections.
    UpstreamConnectionsMax,
    /// The upstream has `requests-max` requests under way, and no queue.
    UpstreamRequestsMax,
    /// As many requests as may wait for the upstream do.
    UpstreamQueueFull,
    /// A request waited for the upstream as long as it may.
    UpstreamQueueTimeout,
    /// The upstream failed too often lately: its breaker is open.
    UpstreamBreakerOpen,
    /// No endpoint may be used at present.
    NoEndpoint,
    /// The whole exchange took longer than its route allows.
    ExchangeTimeout,
    /// A plugin failed (trap, error, broken contract) and its policy is `closed`.
    PluginFailed,
    /// A plugin ran longer than its deadline.
    PluginTimeout,
    /// A plugin's bound on concurrent or suspended guests is reached.
    PluginOverloaded,
    /// What the route leads to does not exist, or takes no share (Gateway API: an invalid `backendRef`).
    NoTarget,
    /// The exchange's generation was replaced longer ago than `generation-age-max` allows.
    GenerationExpired,
    /// A limit of the gateway itself is reached.
    Overloaded,
    /// A defect of ours.
    Internal,
}

impl Kind {
    /// Every kind, each at the position that `kind as usize` gives.
    pub const ALL: [Self; 33] = [
        Self::MalformedRequest,
        Self::NoRoute,
        Self::MethodNotAllowed,
        Self::ExpectationFailed,
        Self::Unauthenticated,
        Self::AccessDenied,
        Self::Misdirected,
        Self::RequestTimeout,
        Self::BodyTooLarge,
        Self::UriTooLong,
        Self::HeadTooLarge,
        Self::ClientGone,
        Self::UpstreamConnect,
        Self::UpstreamConnectTimeout,
        Self::UpstreamReset,
        Self::UpstreamMalformed,
        Self::UpstreamTimeout,
        Self::UpstreamTryTimeout,
        Self::UpstreamIdleTimeout,
        Self::UpstreamConnectionsMax,
        Self::UpstreamRequestsMax,
        Self::UpstreamQueueFull,
        Self::UpstreamQueueTimeout,
        Self::UpstreamBreakerOpen,
        Self::NoEndpoint,
        Self::ExchangeTimeout,
        Self::PluginFailed,
        Self::PluginTimeout,
        Self::PluginOverloaded,
        Self::NoTarget,
        Self::GenerationExpired,
        Self::Overloaded,
        Self::Internal,
    ];

    /// Whose fault this kind is.
    pub const fn fault(self) -> Fault {
        match self {
            Self::MalformedRequest
            | Self::NoRoute
            | Self::MethodNotAllowed
            | Self::ExpectationFailed
            | Self::Unauthenticated
            | Self::AccessDenied
            | Self::Misdirected
            | Self::RequestTimeout
            | Self::BodyTooLarge
            | Self::UriTooLong
            | Self::HeadTooLarge
            | Self::ClientGone => Fault::Client,
            Self::UpstreamConnect
            | Self::UpstreamReset
            | Self::UpstreamMalformed
            | Self::UpstreamTimeout
            | Self::UpstreamConnectTimeout
            | Self::UpstreamTryTimeout
            | Self::UpstreamIdleTimeout
            | Self::UpstreamConnectionsMax
            | Self::UpstreamRequestsMax
            | Self::UpstreamQueueFull
            | Self::UpstreamQueueTimeout
            | Self::UpstreamBreakerOpen
            | Self::NoEndpoint
            | Self::ExchangeTimeout => Fault::Upstream,
            Self::PluginFailed | Self::PluginTimeout | Self::PluginOverloaded => Fault::Plugin,
            Self::NoTarget | Self::GenerationExpired | Self::Overloaded | Self::Internal => Fault::Gateway,
        }
    }

    /// The status that the client sees.
    pub const fn status(self) -> StatusCode {
        match self {
            Self::MalformedRequest => StatusCode::BAD_REQUEST,
            Self::NoRoute => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::ExpectationFailed => StatusCode::EXPECTATION_FAILED,
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::AccessDenied => StatusCode::FORBIDDEN,
            Self::Misdirected => StatusCode::MISDIRECTED_REQUEST,
            Self::RequestTimeout | Self::ClientGone => StatusCode::REQUEST_TIMEOUT,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UriTooLong => StatusCode::URI_TOO_LONG,
            Self::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::UpstreamConnect | Self::UpstreamReset | Self::UpstreamMalformed => StatusCode::BAD_GATEWAY,
            Self::UpstreamTimeout
            | Self::UpstreamConnectTimeout
            | Self::UpstreamTryTimeout
            | Self::UpstreamIdleTimeout
            | Self::ExchangeTimeout => StatusCode::GATEWAY_TIMEOUT,
            Self::NoEndpoint
            | Self::UpstreamConnectionsMax
            | Self::UpstreamRequestsMax
            | Self::UpstreamQueueFull
            | Self::UpstreamQueueTimeout
            | Self::UpstreamBreakerOpen
            | Self::PluginFailed
            | Self::PluginTimeout
            | Self::PluginOverloaded
            | Self::GenerationExpired
            | Self::Overloaded => StatusCode::SERVICE_UNAVAILABLE,
            Self::NoTarget | Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The whole of what the client is told beside the status.
    pub const fn client_text(self) -> &'static str {
        match self {
            Self::MalformedRequest => "the request is malformed",
            Self::NoRoute => "no route matches this request",
            Self::MethodNotAllowed => "this method is not allowed here",
            Self::ExpectationFailed => "the expectation cannot be met",
            Self::Unauthenticated => "credentials are required",
            Self::AccessDenied => "access is denied",
            Self::Misdirected => "use another connection for this request",
            Self::RequestTimeout | Self::ClientGone => "the request took too long to arrive",
            Self::BodyTooLarge => "the request body is too large",
            Self::UriTooLong => "the request target is too long",
            Self::HeadTooLarge => "the request header fields are too large",
            Self::UpstreamConnect | Self::UpstreamReset | Self::UpstreamMalformed => "the upstream failed",
            Self::UpstreamTimeout
            | Self::UpstreamConnectTimeout
            | Self::UpstreamTryTimeout
            | Self::UpstreamIdleTimeout
            | Self::ExchangeTimeout => "the upstream took too long",
            Self::NoEndpoint
            | Self::UpstreamConnectionsMax
            | Self::UpstreamRequestsMax
            | Self::UpstreamQueueFull
            | Self::UpstreamQueueTimeout
            | Self::UpstreamBreakerOpen
            | Self::PluginFailed
            | Self::PluginTimeout
            | Self::PluginOverloaded
            | Self::GenerationExpired
            | Self::Overloaded => "the service is unavailable",
            Self::NoTarget => "there is nothing behind this route",
            Self::Internal => "the gateway failed",
        }
    }

    /// The name in logs and metric labels, in snake case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::MalformedRequest => "malformed_request",
            Self::NoRoute => "no_route",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::ExpectationFailed => "expectation_failed",
            Self::Unauthenticated => "unauthenticated",
            Self::AccessDenied => "access_denied",
            Self::Misdirected => "misdirected",
            Self::RequestTimeout => "request_timeout",
            Self::BodyTooLarge => "body_too_large",
            Self::UriTooLong => "uri_too_long",
            Self::HeadTooLarge => "head_too_large",
            Self::ClientGone => "client_gone",
            Self::UpstreamConnectTimeout => "upstream_connect_timeout",
            Self::UpstreamConnect => "upstream_connect",
            Self::UpstreamReset => "upstream_reset",
            Self::UpstreamMalformed => "upstream_malformed",
            Self::UpstreamBreakerOpen => "upstream_breaker_open",
            Self::UpstreamQueueTimeout => "upstream_queue_timeout",
            Self::UpstreamQueueFull => "upstream_queue_full",
            Self::UpstreamRequestsMax => "upstream_requests_max",
            Self::UpstreamConnectionsMax => "upstream_connections_max",
            Self::UpstreamIdleTimeout => "upstream_idle_timeout",
            Self::UpstreamTryTimeout => "upstream_try_timeout",
            Self::NoTarget => "no_target",
            Self::UpstreamTimeout => "upstream_timeout",
            Self::NoEndpoint => "no_endpoint",
            Self::ExchangeTimeout => "exchange_timeout",
            Self::PluginFailed => "plugin_failed",
            Self::PluginTimeout => "plugin_timeout",
            Self::PluginOverloaded => "plugin_overloaded",
            Self::GenerationExpired => "generation_expired",
            Self::Overloaded => "overloaded",
            Self::Internal => "internal",
        }
    }
}

/// Why one exchange failed. `Display` is the log's text; the client is told [`Kind::client_text`] and nothing else.
#[derive(Debug)]
pub struct Error {
    kind: Kind,
    detail: Cow<'static, str>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
    retry_after: Option<Duration>,
}

impl Error {
    /// An error of `kind`; `detail` is for the log and names the thing that failed.
    pub fn new(kind: Kind, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, detail: detail.into(), source: None, retry_after: None }
    }

    /// The same with its cause.
    pub fn because(
        kind: Kind,
        detail: impl Into<Cow<'static, str>>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self { kind, detail: detail.into(), source: Some(source.into()), retry_after: None }
    }

    /// The same with the time after which the client may try again.
    #[must_use]
    pub fn retry_after(mut self, time: Duration) -> Self {
        self.retry_after = Some(time);
        self
    }

    /// What `Retry-After` says (RFC 9110 section 10.2.3): whole seconds, rounded up, at least 1.
    pub fn retry_after_seconds(&self) -> Option<u64> {
        self.retry_after.map(|time| (time.as_secs() + u64::from(time.subsec_nanos() > 0)).max(1))
    }

    /// What happened.
    pub const fn kind(&self) -> Kind {
        self.kind
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind.name(), self.detail)?;
        let mut cause = self.source.as_deref().map(|source| source as &dyn std::error::Error);
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_stands_at_its_own_position() {
        for (position, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, position, "{}", kind.name());
        }
        assert_eq!(Kind::ALL.len(), Kind::Internal as usize + 1);
    }
}
