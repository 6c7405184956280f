//! How a directory is watched and how much of it is read: settings with their defaults. Knows no file.

use std::{fmt, str::FromStr, time::Duration};

/// How a directory or file is watched and read. `WatchOptions::default()` is what an operator who writes nothing gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchOptions {
    /// Events, polling, both or neither.
    pub mode: WatchMode,
    /// Between two polls. Values below 10 ms count as 10 ms.
    pub poll: Duration,
    /// A tree is taken after this long without an event.
    pub quiet: Duration,
    /// A tree is taken after this long at most, counted from the first event; files still being written keep their
    /// last whole content.
    pub quiet_max: Duration,
    /// Two equal readings of a file must lie this far apart where no event says that it is whole; a vanished file
    /// counts as deleted after as long.
    pub settle: Duration,
    /// How long a file may stay open for writing without a write before it is taken as it is.
    pub open_max: Duration,
    /// Between two comparisons of all content, the net under lost events and coarse clocks.
    pub compare: Duration,
    /// Whether links and paths may lead out of the directory.
    pub follow_outside: bool,
    /// Whether a directory that held documents may come to hold none.
    pub allow_empty: bool,
    /// The largest document, in bytes.
    pub document_bytes_max: u64,
    /// The largest other entry (module, secret), in bytes.
    pub entry_bytes_max: u64,
    /// The most documents in one directory.
    pub documents_max: usize,
    /// All documents of one directory together, in bytes.
    pub directory_bytes_max: u64,
    /// The most directories watched by events; above, the directory is polled as if the system had refused a watch.
    pub watches_max: usize,
}

impl Default for WatchOptions {
    fn default() -> Self {
        Self {
            mode: WatchMode::Auto,
            poll: Duration::from_millis(500),
            quiet: Duration::from_millis(10),
            quiet_max: Duration::from_secs(1),
            settle: Duration::from_millis(100),
            open_max: Duration::from_secs(10),
            compare: Duration::from_secs(10),
            follow_outside: false,
            allow_empty: false,
            document_bytes_max: 8 << 20,
            entry_bytes_max: 64 << 20,
            documents_max: 100_000,
            directory_bytes_max: 512 << 20,
            watches_max: 65_536,
        }
    }
}

impl WatchOptions {
    /// The poll interval, never so short that it spins.
    pub(super) fn poll_interval(&self) -> Duration {
        self.poll.max(Duration::from_millis(10))
    }
}

/// How a directory is watched: the setting `watch.mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WatchMode {
    /// Events of the operating system, and polling too where they are known to be unreliable.
    #[default]
    Auto,
    /// Events only; polling if the system refuses a watch.
    Events,
    /// Polling only.
    Poll,
    /// Neither: only a signal or a request reloads.
    Off,
}

impl FromStr for WatchMode {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        match word {
            "auto" => Ok(Self::Auto),
            "events" => Ok(Self::Events),
            "poll" => Ok(Self::Poll),
            "off" => Ok(Self::Off),
            other => Err(format!("`{other}` is no watch mode: write auto, events, poll or off")),
        }
    }
}

impl fmt::Display for WatchMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Events => "events",
            Self::Poll => "poll",
            Self::Off => "off",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_read_back_as_printed() {
        for mode in [WatchMode::Auto, WatchMode::Events, WatchMode::Poll, WatchMode::Off] {
            assert_eq!(mode.to_string().parse(), Ok(mode));
        }
        assert!("inotify".parse::<WatchMode>().is_err());
    }
}
