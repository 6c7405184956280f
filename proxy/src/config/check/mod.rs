//! Checks objects, one at a time: raw to `spec`, or everything that is wrong with it. Pure: the same object and the
//! same secrets give the same outcome, so outcomes are kept and reused. What one object says of another is checked by
//! `cross`.

mod admission;
mod balance;
mod cache;
mod gateway;
mod guards;
mod health;
mod http3;
mod listener;
mod matching;
mod middleware;
mod module;
mod modules;
mod plugin;
mod protocol;
mod proxied;
mod retry;
mod route;
mod scope;
mod section;
mod steps;
mod table;
mod target;
mod tls;
mod tracing;
mod traffic;
mod upstream;
mod users;
mod values;

pub(crate) use scope::{Mention, Outcome, Value};

use super::{
    document::{Kind, Object},
    secret::Environment,
};
use scope::Scope;

/// Checks one object.
pub(crate) fn check(object: &Object, environment: &Environment<'_>) -> Outcome {
    let mut scope = Scope::new(object, environment);
    let value = match object.kind {
        Kind::Setting => gateway::setting(&mut scope),
        Kind::Listener => listener::listener(&mut scope),
        Kind::Upstream => upstream::upstream(&mut scope),
        Kind::Middleware => middleware::middleware(&mut scope),
        Kind::Table => table::table(&mut scope),
        Kind::Route => route::route(&mut scope),
    };
    let value = value.filter(|_| scope.is_sound());
    Outcome { value, ..scope.outcome }
}
