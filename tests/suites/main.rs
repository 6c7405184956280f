//! The suites: what the gateway does, seen from outside. One binary, so that the gateway is linked once.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop, and say where")]

mod authentication;
mod cli;
mod diagnostics;
mod etcd;
mod etcd_client;
mod examples;
mod file_events;
mod fleet;
mod guards;
mod harness;
mod http2_upstream;
mod languages;
mod last_good;
mod longlived;
mod middleware;
mod plugin_docs;
mod plugin_streams;
mod plugin_tables;
mod plugins;
mod plugins_jwt;
mod plugins_rate_limit;
mod proxying;
mod publish;
mod refusal;
mod routing;
mod saving;
mod sdk_docs;
mod seeing;
mod soak;
mod storm;
mod swap;
mod tables;
mod tidy;
mod tls;
mod warm;
