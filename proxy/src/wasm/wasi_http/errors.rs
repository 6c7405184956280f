//! The errors of exchanges as guests are told of them, and the other way round.

use wasmtime_wasi_http::Error as WasiError;

use crate::error::{Error, Kind};

/// What a guest is told of a failure: its kind, and nothing of the detail.
pub(super) fn to_guest(error: &Error) -> WasiError {
    match error.kind() {
        Kind::UpstreamConnect => WasiError::ConnectionRefused,
        Kind::UpstreamConnectTimeout => WasiError::ConnectionTimeout,
        Kind::UpstreamReset | Kind::ClientGone => WasiError::ConnectionTerminated,
        Kind::UpstreamMalformed => WasiError::HttpProtocolError,
        Kind::UpstreamTimeout | Kind::UpstreamTryTimeout | Kind::ExchangeTimeout => WasiError::HttpResponseTimeout,
        Kind::UpstreamIdleTimeout | Kind::RequestTimeout => WasiError::ConnectionReadTimeout,
        Kind::NoEndpoint | Kind::UpstreamBreakerOpen => WasiError::DestinationUnavailable,
        Kind::UpstreamConnectionsMax
        | Kind::UpstreamRequestsMax
        | Kind::UpstreamQueueFull
        | Kind::UpstreamQueueTimeout
        | Kind::Overloaded => WasiError::ConnectionLimitReached,
        Kind::BodyTooLarge => WasiError::HttpRequestBodySize(None),
        other => WasiError::InternalError(Some(other.name().to_owned())),
    }
}

/// A body of the guest's that broke off.
pub(super) fn broken_off(plugin: &str, why: impl std::fmt::Display) -> Error {
    Error::new(Kind::PluginFailed, format!("plugin {plugin}: its body broke off: {why}"))
}
