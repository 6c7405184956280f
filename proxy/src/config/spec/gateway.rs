//! Gateway-wide settings and those of the process. Knows nothing of what they do.

use std::{net::SocketAddr, time::Duration};

use serde::Serialize;

use super::{Dns, ModuleSources, Name, Tracing};

/// Gateway-wide settings. Those of the process need a restart; the rest is applied by a reload.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Gateway {
    /// Steps around every exchange, outermost.
    pub middleware: Vec<Name>,
    /// How long an old generation may be held before its exchanges are ended; `None` is for ever.
    pub generation_age_max: Option<Duration>,
    /// How long shutdown waits for exchanges and tunnels.
    pub shutdown_deadline: Duration,
    /// The access log.
    pub access_log: AccessLog,
    /// Traces; `None` is off.
    pub tracing: Option<Tracing>,
    /// How names of endpoints are resolved, where their upstream does not say it.
    pub dns: Dns,
    /// How modules are fetched and taken. No part of what serves.
    #[serde(skip)]
    pub modules: ModuleSources,
    /// Settings of the process.
    pub process: Process,
}

/// Settings that only a restart changes.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Process {
    /// `None`: one a core.
    pub workers: Option<usize>,
    /// The admin address.
    pub admin: Option<SocketAddr>,
    /// The admin Unix socket.
    pub admin_socket: Option<String>,
    /// Whether verbs that change something are allowed from loopback without a token.
    pub admin_trust_loopback: Option<bool>,
    /// The bearer token of the admin endpoint; already resolved. Never serialised.
    #[serde(skip)]
    pub admin_token: Option<Secret>,
    /// How many guests the process has slots for.
    pub guest_slots: Option<u32>,
}

/// A secret: printed as `***`, wherever it is printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// Where and how exchanges are logged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AccessLog {
    /// `None` is off.
    pub to: Option<LogTarget>,
    /// Field names in order; all of them where empty. See `docs/configuration.md`.
    pub format: LogFormat,
    /// How many lines may wait for the writer before further ones are dropped and counted.
    pub queue_lines_max: usize,
}

/// Where log lines go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum LogTarget {
    /// Standard output.
    Stdout,
    /// A file, appended to; opened anew on `USR1`.
    File(String),
}

/// The form of an access-log line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum LogFormat {
    /// One JSON object a line with every field.
    Json,
    /// One JSON object a line with these fields.
    JsonFields(Vec<String>),
    /// A template, `%{field}` replaced.
    Text(String),
}

impl Default for Gateway {
    fn default() -> Self {
        Self {
            middleware: Vec::new(),
            generation_age_max: None,
            shutdown_deadline: Duration::from_secs(30),
            access_log: AccessLog { to: None, format: LogFormat::Json, queue_lines_max: 8192 },
            tracing: None,
            dns: Dns::default(),
            modules: ModuleSources::default(),
            process: Process::default(),
        }
    }
}
