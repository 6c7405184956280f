//! Every name that logs and metrics carry, in one place: dashboards, alerts and scripts rely on them, so a change to
//! one is a breaking change. `docs/operating.md` lists them; a test keeps the two alike.

/// A metric: its name, kind, labels and what it says.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    /// With unit last, `_total` for counters.
    pub name: &'static str,
    /// What Prometheus calls its type.
    pub kind: Shape,
    /// In the order of writing.
    pub labels: &'static [&'static str],
    /// One sentence.
    pub help: &'static str,
}

/// The type of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Only rises.
    Counter,
    /// Rises and falls.
    Gauge,
    /// Counts by upper bound.
    Histogram,
}

impl Shape {
    /// As Prometheus writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

macro_rules! families {
    ($($id:ident = $kind:ident $name:literal [$($label:literal),*] $help:literal;)*) => {
        $(#[doc = $help] pub const $id: Family =
            Family { name: $name, kind: Shape::$kind, labels: &[$($label),*], help: $help };)*
        /// All of them, in the order of the exposition.
        pub const FAMILIES: &[Family] = &[$($id),*];
    };
}

families! {
    REQUESTS = Counter "tidegate_requests_total" ["route", "code"] "Exchanges that are over, by route and status sent.";
    REQUEST_ERRORS = Counter "tidegate_request_errors_total" ["route", "kind"] "Exchanges that failed, by route and what failed.";
    REQUEST_DURATION = Histogram "tidegate_request_duration_seconds" ["route"] "From a request's head to its response's last byte.";
    REQUEST_BYTES = Counter "tidegate_request_body_bytes_total" ["route"] "Body bytes received from clients.";
    RESPONSE_BYTES = Counter "tidegate_response_body_bytes_total" ["route"] "Body bytes sent to clients.";
    UPSTREAM_REQUESTS = Counter "tidegate_upstream_requests_total" ["upstream", "code"] "Requests that an upstream answered, by status.";
    UPSTREAM_ERRORS = Counter "tidegate_upstream_errors_total" ["upstream", "kind"] "Requests that an upstream did not answer, by what failed.";
    UPSTREAM_DURATION = Histogram "tidegate_upstream_duration_seconds" ["upstream"] "From a request to the head of its answer.";
    UPSTREAM_IN_FLIGHT = Gauge "tidegate_upstream_requests_in_flight" ["upstream"] "Requests under way.";
    UPSTREAM_CONNECTS = Counter "tidegate_upstream_connects_total" ["upstream"] "Connections made.";
    UPSTREAM_CONNECTIONS = Gauge "tidegate_upstream_connections" ["upstream"] "Connections open.";
    UPSTREAM_REUSES = Counter "tidegate_upstream_connections_reused_total" ["upstream"] "Requests that found a connection in the pool.";
    UPSTREAM_RETRIES = Counter "tidegate_upstream_retries_total" ["upstream", "reason", "outcome"] "Requests sent once more, by what the try before met (crowded, connect, stale, refused, reset, timeout, status) and what came of it (answered, failed).";
    UPSTREAM_WITHHELD = Counter "tidegate_upstream_retries_withheld_total" ["upstream", "reason"] "Requests not sent once more although that was asked for, by why (attempts, budget, body, method, time).";
    UPSTREAM_HEDGES = Counter "tidegate_upstream_hedges_total" ["upstream", "outcome"] "Tries begun beside a slow one, by what came of them (won, lost, failed).";
    UPSTREAM_QUEUE = Gauge "tidegate_upstream_queue_requests" ["upstream"] "Requests that wait for their turn.";
    UPSTREAM_QUEUE_DURATION = Histogram "tidegate_upstream_queue_duration_seconds" ["upstream"] "How long requests waited that did, in vain or not.";
    UPSTREAM_BREAKER = Gauge "tidegate_upstream_breaker_state" ["upstream"] "The breaker as the last request met it: 0 closed, 1 half open, 2 open.";
    UPSTREAM_BREAKER_OPENINGS = Counter "tidegate_upstream_breaker_openings_total" ["upstream"] "Times that the breaker opened.";
    UPSTREAM_ENDPOINTS = Gauge "tidegate_upstream_endpoints" ["upstream", "state"] "Endpoints, by whether they may be used (healthy, unhealthy, ejected).";
    UPSTREAM_PANICS = Gauge "tidegate_upstream_panic" ["upstream"] "1 while too few endpoints are healthy, so that all are used.";
    UPSTREAM_EJECTIONS = Counter "tidegate_upstream_ejections_total" ["upstream", "cause"] "Endpoints ejected, by why (consecutive_errors, consecutive_gateway_errors, success_rate).";
    PLUGIN_CALLS = Counter "tidegate_plugin_calls_total" ["plugin"] "Exchanges that a plugin is through with.";
    PLUGIN_ERRORS = Counter "tidegate_plugin_errors_total" ["plugin", "kind"] "Exchanges that a plugin failed, by what failed.";
    PLUGIN_DURATION = Histogram "tidegate_plugin_duration_seconds" ["plugin"] "Time inside a plugin, all phases of an exchange.";
    PLUGIN_TRAPS = Counter "tidegate_plugin_traps_total" ["plugin", "kind"] "Guests that trapped and were thrown away, by how.";
    PLUGIN_GUESTS = Gauge "tidegate_plugin_guests" ["plugin"] "Guests that stand, busy or not.";
    PLUGIN_FALLBACKS = Counter "tidegate_plugin_fallbacks_total" ["plugin"] "Times that a plugin failed and its last version that worked took its place.";
    PLUGIN_FALLBACK = Gauge "tidegate_plugin_fallback" ["plugin"] "1 where the last version that worked serves in the place of the one configured.";
    PLUGIN_MEMORY = Gauge "tidegate_plugin_guest_memory_bytes" ["plugin"] "Linear memory of the guests that stand.";
    PLUGIN_INSTANTIATIONS = Counter "tidegate_plugin_instantiations_total" ["plugin"] "Guests instantiated.";
    GUEST_COUNTER = Counter "tidegate_guest_counter_total" ["plugin", "name"] "Counters that plugins define.";
    GUEST_GAUGE = Gauge "tidegate_guest_gauge" ["plugin", "name"] "Gauges that plugins define.";
    GUEST_HISTOGRAM = Histogram "tidegate_guest_histogram" ["plugin", "name"] "Histograms that plugins define.";
    GUEST_REFUSED = Counter "tidegate_guest_metrics_refused_total" [] "Metrics that plugins asked for beyond the limits.";
    MODULE_FETCHES = Counter "tidegate_module_fetches_total" ["outcome"] "Modules from elsewhere that a configuration newly named: fetched, found on disk, or failed.";
    MODULES_COMPILED = Counter "tidegate_modules_compiled_total" [] "Modules compiled, from Wasm or from the cache.";
    TABLE_CALLS = Counter "tidegate_table_calls_total" ["table"] "Requests that a routing table was asked about.";
    TABLE_ERRORS = Counter "tidegate_table_errors_total" ["table", "kind"] "Requests that a routing table failed, by what failed; the routes that are matched served.";
    TABLE_DURATION = Histogram "tidegate_table_duration_seconds" ["table"] "Time inside a routing table.";
    TABLE_TRAPS = Counter "tidegate_table_traps_total" ["table", "kind"] "Guests of tables that trapped and were thrown away, by how.";
    TABLE_GUESTS = Gauge "tidegate_table_guests" ["table"] "Guests of tables that stand, busy or not.";
    TABLE_MEMORY = Gauge "tidegate_table_guest_memory_bytes" ["table"] "Linear memory of the guests of tables that stand.";
    MIRRORS = Counter "tidegate_mirror_requests_total" ["middleware", "outcome"] "Copies of requests, by what became of them (answered, crowded, too_large, cut, failed).";
    GATES = Counter "tidegate_concurrency_requests_total" ["middleware", "outcome"] "Exchanges that came to a concurrency limit, by what became of them (passed, waited, refused, late).";
    CACHE_REQUESTS = Counter "tidegate_cache_requests_total" ["middleware", "outcome"] "Requests that came to a response cache, by what became of them (hit, stale, revalidated, miss, bypass).";
    CACHE_BYTES = Gauge "tidegate_cache_bytes" ["middleware"] "Bytes that a response cache holds, what is being stored among them.";
    CACHE_ENTRIES = Gauge "tidegate_cache_entries" ["middleware"] "URIs of which a response cache holds something.";
    CACHE_EVICTIONS = Counter "tidegate_cache_evictions_total" ["middleware"] "URIs whose responses made room for others.";
    CONNECTIONS_ACCEPTED = Counter "tidegate_connections_accepted_total" ["listener"] "Connections accepted.";
    CONNECTIONS = Gauge "tidegate_connections" ["listener"] "Connections open.";
    CONNECTIONS_RESTING = Gauge "tidegate_connections_resting" ["listener"] "Those of HTTP/1 that were idle for a second and hold no buffers.";
    CONNECTIONS_REJECTED = Counter "tidegate_connections_rejected_total" ["listener", "reason"] "Connections turned away (limit) and failed accepts (accept).";
    CONNECTION_ERRORS = Counter "tidegate_connection_errors_total" ["listener", "kind"] "Requests refused before they had a route, by what was wrong.";
    TLS_HANDSHAKES = Counter "tidegate_tls_handshakes_total" ["listener", "version", "kind"] "TLS handshakes that are through, by version (1.2, 1.3) and kind (full, resumed).";
    TLS_HANDSHAKES_FAILED = Counter "tidegate_tls_handshake_failures_total" ["listener", "reason"] "TLS handshakes that failed (timeout, crowded, cleartext, client_certificate, closed, protocol).";
    TLS_CERTIFICATE_EXPIRY = Gauge "tidegate_tls_certificate_expiry_timestamp_seconds" ["listener", "certificate"] "When a certificate that is shown expires, by the file that it is in.";
    PROXY_HEADERS = Counter "tidegate_proxy_protocol_connections_total" ["listener", "outcome"] "Connections of listeners with PROXY protocol, by what they began with (version_1, version_2, unaddressed, absent, untrusted, malformed, too_long, timeout).";
    TUNNELS_OPENED = Counter "tidegate_tunnels_opened_total" ["listener"] "Upgrades that became tunnels.";
    TUNNELS = Gauge "tidegate_tunnels" ["listener"] "Tunnels open.";
    RELOADS = Counter "tidegate_reloads_total" ["trigger", "outcome"] "Attempts to load, by what asked and what came of it.";
    RELOAD_PHASE = Histogram "tidegate_reload_phase_seconds" ["phase"] "Time of each phase of an attempt.";
    RELOAD_LAST_ATTEMPT = Gauge "tidegate_reload_last_attempt_timestamp_seconds" [] "When the last attempt began.";
    RELOAD_LAST_OK = Gauge "tidegate_reload_last_attempt_successful" [] "1 if the last attempt was applied or unchanged, 0 if it was refused.";
    RELOAD_LAST_SUCCESS = Gauge "tidegate_reload_last_success_timestamp_seconds" [] "When the last attempt that was not refused began.";
    LAST_GOOD_SERVES = Gauge "tidegate_last_good_serves" [] "1 while the last good tree serves in place of what its sources should hold, else 0.";
    LAST_GOOD_KEPT = Gauge "tidegate_last_good_kept_timestamp_seconds" [] "When a tree that was applied was kept on disk last.";
    LAST_GOOD_ERRORS = Counter "tidegate_last_good_errors_total" [] "Trees that could not be kept on disk.";
    FLEET_STATUS_ERRORS = Counter "tidegate_fleet_status_errors_total" [] "Times that what this gateway serves could not be written to etcd.";
    GENERATION = Gauge "tidegate_generation" [] "The generation that serves.";
    CONFIG_INFO = Gauge "tidegate_config_info" ["hash"] "1, with the hash of the tree that serves.";
    LIVE_GENERATIONS = Gauge "tidegate_live_generations" [] "Generations that something still holds, the serving one included.";
    LIVE_EXCHANGES = Gauge "tidegate_live_exchanges" ["age"] "Exchanges under way, on the serving generation (current) and older ones (old).";
    ACCESS_DROPPED = Counter "tidegate_access_log_dropped_lines_total" [] "Access-log lines dropped because the writer fell behind or the target could not be written.";
    ACCESS_WRITE_ERRORS = Counter "tidegate_access_log_write_errors_total" [] "Writes of the access log that failed.";
    TRACE_SPANS_EXPORTED = Counter "tidegate_trace_spans_exported_total" [] "Spans that the collector took.";
    TRACE_SPANS_DROPPED = Counter "tidegate_trace_spans_dropped_total" ["reason"] "Spans that were dropped: no room in the queue (queue), too many in one exchange (exchange), refused by the collector (refused), not taken in time (late).";
    TRACE_SPANS_QUEUED = Gauge "tidegate_trace_spans_queued" [] "Spans that wait for the collector.";
    TRACE_EXPORT_FAILURES = Counter "tidegate_trace_export_failures_total" [] "Attempts to send spans that failed.";
    SOURCE_HEALTHY = Gauge "tidegate_source_healthy" ["source"] "1 if a source is followed and taken, 0 if what was known of it serves on.";
    SOURCE_REVISION = Gauge "tidegate_source_revision" ["source"] "A source's own number of the last state that it knows of.";
    SOURCE_EVENTS = Counter "tidegate_source_events_total" ["source"] "Change events of a source.";
    SOURCE_OVERFLOWS = Counter "tidegate_source_overflows_total" ["source"] "Overflows of a source's event queue, each followed by a full reading.";
    SOURCE_WATCHES = Counter "tidegate_source_watches_total" ["source"] "Watches that a source opened.";
    SOURCE_AUTHENTICATIONS = Counter "tidegate_source_authentications_total" ["source"] "Tokens that a source asked for.";
    SOURCE_EXPIRING = Gauge "tidegate_source_expiring_entries" ["source"] "Entries that go with a lease.";
    SOURCE_TROUBLE = Gauge "tidegate_source_trouble" ["source", "kind"] "1 for what is wrong with a source now.";
    SOURCE_FAILURES = Counter "tidegate_source_failures_total" ["source", "kind"] "What failed of following a source, by what it was.";
    SOURCE_COMPARISONS = Counter "tidegate_source_comparisons_total" ["source", "outcome"] "Comparisons of what is known with all that there is (equal, different).";
    SERIES_OVERFLOW = Counter "tidegate_series_overflow_total" ["family"] "Names that found their family full and are counted as other.";
    BUILD_INFO = Gauge "tidegate_build_info" ["version"] "1, with the version of the gateway.";
    WORKERS = Gauge "tidegate_workers" [] "Workers.";
    IO_URING_WORKERS = Gauge "tidegate_io_uring_workers" [] "Workers that read and write over an io_uring (--io-uring).";
    PROCESS_START = Gauge "process_start_time_seconds" [] "When the process started.";
    PROCESS_CPU = Counter "process_cpu_seconds_total" [] "CPU time, user and kernel.";
    PROCESS_MEMORY = Gauge "process_resident_memory_bytes" [] "Resident memory.";
    PROCESS_FDS = Gauge "process_open_fds" [] "Open file descriptors.";
}

/// The label value that stands for names beyond a family's limit.
pub const OTHER: &str = "other";

pub use crate::config::fields::ACCESS_FIELDS;

#[cfg(test)]
mod tests {
    use super::*;

    // The rows of the page, in the order of the lists: write what the test prints.
    #[test]
    fn the_page_on_operating_lists_every_name() {
        let page = include_str!("../../../docs/operating.md");
        let metrics = FAMILIES.iter().map(|Family { name, kind, labels, help }| {
            let labels: Vec<_> = labels.iter().map(|label| format!("`{label}`")).collect();
            let labels = if labels.is_empty() { "-".to_owned() } else { labels.join(", ") };
            format!("| `{name}` | {} | {labels} | {help} |\n", kind.name())
        });
        let fields = ACCESS_FIELDS.iter().map(|(name, says)| format!("| `{name}` | {says} |\n"));
        for rows in [metrics.collect::<String>(), fields.collect()] {
            assert!(page.contains(&rows), "docs/operating.md lacks these rows:\n{rows}");
        }
    }
}
