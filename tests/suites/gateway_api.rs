//! The conformance tests of the Kubernetes Gateway API, by their names: for each a file of manifests in
//! `tests/tables/gateway-api`, which the gateway takes as its configuration, and what is asked over sockets and expected
//! (minus what is only status in a cluster).

mod auth;
mod gateways;
mod grpc;
mod http;
mod manifests;
mod native;
mod persistence;
mod play;
mod secured;
mod sets;
