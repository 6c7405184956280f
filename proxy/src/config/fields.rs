//! The fields of an access-log line, by name. They stand here, and not in `telemetry`, because a configuration that
//! names another one is refused; `telemetry::names` hands them on.

/// The fields of the access log, in the order in which a line of all of them has them, and what each says.
pub const ACCESS_FIELDS: &[(&str, &str)] = &[
    ("time", "when the request's head was complete, RFC 3339, UTC, milliseconds"),
    ("generation", "the generation that the exchange began and ended on"),
    ("listener", "the listener's name"),
    ("route", "the route's id; absent if none matched"),
    ("method", "the method"),
    ("authority", "`Host` or `:authority`"),
    ("path", "the path that was routed, without query"),
    ("query", "the query, without `?`; absent if there is none"),
    ("protocol", "what the client speaks (`HTTP/1.1`, `HTTP/2.0`)"),
    ("status", "the status sent"),
    ("request_bytes", "body bytes received from the client"),
    ("response_bytes", "body bytes sent to the client"),
    ("duration_ms", "from the request's head to the response's last byte"),
    ("upstream", "the upstream's name; absent if none was asked"),
    ("endpoint", "the address of the last attempt"),
    ("attempts", "connections asked for, retries included"),
    ("upstream_ms", "from the first attempt to the head of the last attempt's answer"),
    ("plugins_ms", "time inside each plugin, by name"),
    ("client", "the client's address, behind trusted proxies"),
    ("peer", "the address at the other end of the socket"),
    ("worker", "the worker that served it, from 0"),
    ("trace_id", "the trace's id (W3C Trace Context)"),
    ("span_id", "the id of the exchange's own span"),
    ("error", "what failed, if anything: the kind, as in the metrics"),
    ("error_detail", "what failed, in words that the client is not told"),
    ("user_agent", "the request's `User-Agent`"),
    ("referer", "the request's `Referer`"),
    ("attributes", "what plugins noted, by namespaced name"),
];
