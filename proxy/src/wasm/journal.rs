//! What guests say, as lines of the process's log. Knows no ABI; who has how much to say is decided before.

/// How loud a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

impl Level {
    /// Whether anything of a plugin is written at this level.
    pub(super) fn is_enabled(self) -> bool {
        match self {
            Self::Trace => tracing::enabled!(target: "plugin", tracing::Level::TRACE),
            Self::Debug => tracing::enabled!(target: "plugin", tracing::Level::DEBUG),
            Self::Info => tracing::enabled!(target: "plugin", tracing::Level::INFO),
            Self::Warn => tracing::enabled!(target: "plugin", tracing::Level::WARN),
            Self::Error => tracing::enabled!(target: "plugin", tracing::Level::ERROR),
        }
    }
}

/// Writes a message of the plugin called `name`, said in an exchange of `generation` if in one, after so many that were
/// dropped.
pub(super) fn write(name: &str, generation: Option<u64>, dropped: u32, level: Level, message: &str) {
    if dropped > 0 {
        tracing::warn!(target: "plugin", plugin = name, dropped, "the plugin logs too much");
    }
    match level {
        Level::Trace => tracing::trace!(target: "plugin", plugin = name, generation, "{message}"),
        Level::Debug => tracing::debug!(target: "plugin", plugin = name, generation, "{message}"),
        Level::Info => tracing::info!(target: "plugin", plugin = name, generation, "{message}"),
        Level::Warn => tracing::warn!(target: "plugin", plugin = name, generation, "{message}"),
        Level::Error => tracing::error!(target: "plugin", plugin = name, generation, "{message}"),
    }
}
