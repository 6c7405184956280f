//! Publishing: a directory to a prefix of etcd in one step, and back. Contents that are too large for a value go first,
//! in chunks, under their hash; then everything that changed flips in one transaction, which fails if somebody else
//! pushed in between. Knows keys and bytes, and nothing of what is in a document; `docs/etcd.md` tells it to operators.

mod blob;
mod changes;
mod collect;
mod flip;
mod host;
mod overlay;
mod prefix;
mod pull;
mod push;
mod remote;

pub use self::{
    changes::{Change, Changes},
    collect::{Collected, collect},
    host::host_name,
    overlay::{Added, Overlay},
    prefix::Prefix,
    pull::{Pulled, pull},
    push::{Limits, Local, Push, Pushed},
    remote::Remote,
};
