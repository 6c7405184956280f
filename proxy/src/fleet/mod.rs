//! The fleet: each gateway says in etcd what it serves, under a lease, outside the prefix that it follows; whoever asks
//! reads who serves what, who refused and why. Knows nothing of how a configuration is loaded.

mod node;
mod reporter;
mod table;
mod wait;

use std::time::Duration;

pub use self::{
    node::{Node, NodeRevision, RefusedTree, default_id, read},
    reporter::{Reporter, Says},
    table::{Fleet, Member, State},
    wait::{Verdict, wait},
};
use crate::etcd;

/// How a gateway says what it serves.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How etcd is reached.
    pub etcd: etcd::Options,
    /// Where it is said: the key is this, and the node's name.
    pub status_prefix: String,
    /// What this gateway is called.
    pub node: String,
    /// The prefix that it follows.
    pub follows: String,
    /// How long the word of a gateway stands that is gone without a word, in whole seconds.
    pub lease: Duration,
}

/// Where gateways say what they serve, unless told otherwise.
pub const STATUS_PREFIX: &str = "/gw.status/";

/// How long the word of a gateway stands that is gone without a word, unless told otherwise.
pub const LEASE: Duration = Duration::from_secs(10);
