//! How a prefix of etcd is followed: settings with their defaults. Knows no key.

use std::time::Duration;

use crate::etcd;

/// How a prefix of etcd is followed. `EtcdOptions::default()` names no endpoint and no prefix, and has the timings that
/// an operator who writes nothing gets.
#[derive(Clone, Debug)]
pub struct EtcdOptions {
    /// How etcd is reached.
    pub client: etcd::Options,
    /// The prefix, read as a directory: with `/gw/`, the key `/gw/routes/a.yaml` is the file `routes/a.yaml`. A `/` at
    /// its end is added where it lacks one.
    pub prefix: String,
    /// Whether a prefix without a document is a configuration.
    pub allow_empty: bool,
    /// How long the first reading waits for an etcd that does not answer.
    pub first_wait: Duration,
    /// Between two comparisons with everything that etcd holds, the net under lost changes.
    pub compare: Duration,
    /// After how long without a word on the watch a sign of life is asked for. If none comes within the request
    /// timeout, the watch counts as silent and is opened again elsewhere.
    pub quiet_max: Duration,
    /// How long a connection may be away for its watch to be resumed after the last revision that came over it. After a
    /// longer absence everything is compared first, because etcd may have been restored meanwhile.
    pub resume_max: Duration,
    /// Between two trees, at least: what changes faster is taken together.
    pub pace: Duration,
    /// Between two looks at how long leases live.
    pub leases: Duration,
    /// The first pause after a failure is at most this long; it doubles with each further one. A pause is a random
    /// part of that.
    pub pause: Duration,
    /// The longest pause after trouble with the network or the cluster.
    pub pause_max: Duration,
    /// The longest pause where trying again seldom helps: user, token, permission, certificates, limits.
    pub pause_refused_max: Duration,
    /// The most keys, modules included. With more, the tree before stays.
    pub keys_max: usize,
    /// All values together, in bytes, modules in chunks aside. With more, the tree before stays.
    pub tree_bytes_max: usize,
    /// The largest entry that is put together of chunks, in bytes.
    pub entry_bytes_max: u64,
}

impl Default for EtcdOptions {
    fn default() -> Self {
        Self {
            client: etcd::Options::default(),
            prefix: String::new(),
            allow_empty: false,
            first_wait: Duration::from_secs(5),
            compare: Duration::from_secs(300),
            quiet_max: Duration::from_secs(10),
            resume_max: Duration::from_secs(5),
            pace: Duration::from_millis(10),
            leases: Duration::from_secs(10),
            pause: Duration::from_millis(100),
            pause_max: Duration::from_secs(1),
            pause_refused_max: Duration::from_secs(60),
            keys_max: 100_000,
            tree_bytes_max: 512 << 20,
            entry_bytes_max: 64 << 20,
        }
    }
}

impl EtcdOptions {
    /// The prefix with its `/`.
    pub(super) fn directory(&self) -> String {
        format!("{}/", self.prefix.trim_end_matches('/'))
    }
}
