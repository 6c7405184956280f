//! Properties: what is known of an exchange, by the names of Envoy's attributes, and what plugins set under names of
//! their own.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    time::{Duration, SystemTime},
};

use http::{HeaderMap, Version, header};
use wasmtime::{Linker, Result};

use super::{Done, Guest, Status, answers, gives, services, streams};
use crate::{
    error::Kind,
    exchange::Exchange,
    wasm::proxy_wasm::{
        data::Data,
        fields::{View, scheme},
        guest::copy,
        pairs,
        sight::stream,
        stream::{Direction, Stream},
    },
};

pub(super) fn link(linker: &mut Linker<Data>) -> Result<()> {
    gives!(linker, "proxy_get_property", get, path: u32, length: u32);
    answers!(linker, "proxy_set_property", set, path: u32, length: u32, value: u32, bytes: u32);
    Ok(())
}

/// Bytes of a property's name, and of its value.
pub(super) const BYTES_MAX: usize = 4 << 10;
/// Properties that plugins set in one exchange.
const SET_MAX: usize = 64;

type Value = Vec<u8>;

fn get(guest: &mut Guest<'_>, path: u32, length: u32) -> Done<Value> {
    let path = copy(guest, path, length)?;
    let path = std::str::from_utf8(&path).map_err(|_| Status::NotFound)?;
    let parts: Vec<_> = path.trim_end_matches('\0').split('\0').collect();
    let plugin = services::plugin(guest);
    let settings = &guest.data().settings;
    let found = match parts[..] {
        ["plugin_name"] => plugin.map(|plugin| text(&plugin.name)),
        ["plugin_root_id"] => plugin.map(|plugin| text(&plugin.proxy_wasm.root_id)),
        ["plugin_vm_id"] => Some(text(&settings.vm_id)),
        ["node", "id"] => Some(text("tidegate")),
        ["xds", "node", "id"] => Some(text("tidegate")),
        ["listener_direction"] | ["xds", "listener_direction"] => Some(number(1)),
        // Messages of Protocol Buffers in which nothing is set.
        ["metadata"]
        | ["xds", "listener_metadata" | "route_metadata" | "cluster_metadata" | "virtual_host_metadata"] => {
            Some(Value::new())
        }
        _ => None,
    };
    match found {
        Some(value) => Ok(value),
        None => stream(guest).and_then(|stream| of_stream(&stream, &parts)).ok_or(Status::NotFound),
    }
}

fn text(text: &str) -> Value {
    text.as_bytes().to_vec()
}

fn number(number: i64) -> Value {
    number.to_le_bytes().to_vec()
}

fn of_stream(stream: &Stream, parts: &[&str]) -> Option<Value> {
    let exchange = &stream.exchange;
    match parts {
        ["request", rest @ ..] => request(stream, rest),
        ["response", rest @ ..] => response(stream, rest),
        ["connection_id"] => connection(exchange, "id"),
        ["connection", name] => connection(exchange, name),
        ["source", "address"] => Some(text(&client(exchange).to_string())),
        ["source", "port"] => Some(number(client(exchange).port().into())),
        ["destination", "address"] => Some(text(&exchange.connection.local.to_string())),
        ["destination", "port"] => Some(number(exchange.connection.local.port().into())),
        ["upstream", name] => upstream(exchange, name),
        ["route_name"] | ["xds", "route_name"] => exchange.route().map(|route| text(&route.id)),
        ["cluster_name"] | ["xds", "cluster_name"] => {
            exchange.record.read(|recorded| recorded.upstream.as_deref().map(text))
        }
        ["ngx", "remote_addr"] => Some(text(&exchange.client.to_string())),
        ["kong", "route_id" | "route_name"] => exchange.route().map(|route| text(&route.id)),
        ["kong", "service_id" | "service_name"] => {
            exchange.record.read(|recorded| recorded.upstream.as_deref().map(text))
        }
        ["filter_state", rest @ ..] => own(stream, rest),
        ["wasm", ..] => own(stream, &parts[1..]),
        _ => own(stream, parts),
    }
}

fn client(exchange: &Exchange) -> std::net::SocketAddr {
    let peer = exchange.connection.peer;
    // Behind a proxy, its port is not the client's.
    if peer.ip() == exchange.client { peer } else { (exchange.client, 0).into() }
}

fn request(stream: &Stream, rest: &[&str]) -> Option<Value> {
    let mut shown = stream.request.borrow_mut();
    let (head, authority) = shown.as_mut()?.head_mut();
    let field = |name| head.headers.get(name).map(|value| value.as_bytes().to_vec());
    let exchange = &stream.exchange;
    Some(match rest {
        ["path"] => text(head.uri.path_and_query().map_or("/", |target| target.as_str())),
        ["url_path"] => text(head.uri.path()),
        ["query"] => text(head.uri.query().unwrap_or_default()),
        ["host"] => text(authority.as_str()),
        ["scheme"] => text(scheme(exchange.secure)),
        ["method"] => text(head.method.as_str()),
        ["referer"] => field(header::REFERER.as_str())?,
        ["useragent"] => field(header::USER_AGENT.as_str())?,
        ["id"] => field("x-request-id")?,
        ["protocol"] => text(protocol(exchange.version)),
        ["size"] => number(length(&head.headers).unwrap_or(0)),
        ["total_size"] => number(length(&head.headers).unwrap_or(0).saturating_add(bytes(&head.headers))),
        ["time"] => number(nanoseconds(
            SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok()?.saturating_sub(exchange.started.elapsed()),
        )),
        ["duration"] => number(nanoseconds(exchange.started.elapsed())),
        ["headers"] => pairs::write(&View::Request { head, authority, secure: exchange.secure }.pairs()),
        ["headers", name] => View::Request { head, authority, secure: exchange.secure }.first(name.as_bytes())?,
        _ => return None,
    })
}

fn response(stream: &Stream, rest: &[&str]) -> Option<Value> {
    if rest == ["flags"] {
        let flags = |(kind, _): &(Kind, String)| flag(*kind);
        return Some(number(stream.exchange.record.read(|recorded| recorded.error.as_ref().map_or(0, flags))));
    }
    let mut shown = stream.response.borrow_mut();
    let head = shown.as_mut()?;
    Some(match rest {
        ["code"] => number(head.status.as_u16().into()),
        ["size"] => number(length(&head.headers)?),
        ["total_size"] => number(length(&head.headers).unwrap_or(0).saturating_add(bytes(&head.headers))),
        ["backend_latency"] => number(nanoseconds(stream.exchange.record.read(|recorded| recorded.upstream_time)?)),
        ["code_details"] => {
            let failed = stream.exchange.record.read(|recorded| recorded.error.as_ref().map(|(kind, _)| kind.name()));
            text(failed.unwrap_or("via_upstream"))
        }
        ["headers"] => pairs::write(&View::Response(head).pairs()),
        ["headers", name] => View::Response(head).first(name.as_bytes())?,
        ["trailers"] => pairs::write(&list(stream.side(Direction::Response).trailers.borrow().as_ref()?)),
        ["grpc_status"] => {
            let trailers = stream.side(Direction::Response).trailers.borrow();
            let status = trailers.as_ref().and_then(|trailers| trailers.get("grpc-status"));
            let said = status.or_else(|| head.headers.get("grpc-status"));
            let said = said.and_then(|said| said.to_str().ok()?.parse().ok());
            number(said.unwrap_or_else(|| streams::grpc_status(head.status).into()))
        }
        _ => return None,
    })
}

// What failed, as the bits of Envoy's response flags.
const fn flag(kind: Kind) -> i64 {
    match kind {
        Kind::NoEndpoint => 0x2,
        Kind::UpstreamTimeout | Kind::UpstreamTryTimeout | Kind::ExchangeTimeout => 0x4,
        Kind::UpstreamReset => 0x10,
        Kind::UpstreamConnect | Kind::UpstreamConnectTimeout => 0x20,
        Kind::UpstreamMalformed => 0x40,
        Kind::UpstreamBreakerOpen
        | Kind::UpstreamQueueTimeout
        | Kind::UpstreamQueueFull
        | Kind::UpstreamRequestsMax
        | Kind::UpstreamConnectionsMax => 0x80,
        Kind::NoRoute => 0x100,
        Kind::ClientGone => 0x4000,
        Kind::UpstreamIdleTimeout => 0x10000,
        _ => 0,
    }
}

// Of a body, as its head has it.
fn length(fields: &HeaderMap) -> Option<i64> {
    fields.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn bytes(fields: &HeaderMap) -> i64 {
    let bytes: usize = fields.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

fn list(fields: &HeaderMap) -> Vec<(&str, &[u8])> {
    fields.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect()
}

fn connection(exchange: &Exchange, name: &str) -> Option<Value> {
    let tls = exchange.connection.tls.as_deref();
    let client = tls.and_then(|tls| tls.client.as_ref());
    Some(match name {
        "mtls" => vec![u8::from(client.is_some())],
        "id" => connection_id(exchange),
        "requested_server_name" => text(tls.and_then(|tls| tls.server_name.as_deref()).unwrap_or_default()),
        "tls_version" => text(&format!("TLSv{}", tls?.version)),
        "subject_peer_certificate" => text(&client?.subject),
        "sha256_peer_certificate_digest" => text(&client?.fingerprint),
        "dns_san_peer_certificate" => text(client?.dns_names.first()?),
        "uri_san_peer_certificate" => text(client?.uris.first()?),
        _ => return None,
    })
}

// One for all exchanges of a connection, and no other's while it lasts.
fn connection_id(exchange: &Exchange) -> Value {
    let mut hasher = DefaultHasher::new();
    (exchange.connection.peer, exchange.connection.local).hash(&mut hasher);
    hasher.finish().to_le_bytes().to_vec()
}

fn upstream(exchange: &Exchange, name: &str) -> Option<Value> {
    let endpoint = exchange.record.read(|recorded| recorded.endpoint);
    match name {
        "address" => endpoint.map(|endpoint| text(&endpoint.to_string())),
        "port" => endpoint.map(|endpoint| number(endpoint.port().into())),
        // Of what failed, the log says why.
        "transport_failure_reason" => Some(Value::new()),
        "request_attempt_count" => Some(number(exchange.record.read(|recorded| recorded.attempts).into())),
        _ => None,
    }
}

const fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2",
        Version::HTTP_3 => "HTTP/3",
        _ => "HTTP/1.1",
    }
}

fn nanoseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

// Names in the exchange are one for all plugins of this ABI, as in Envoy.
fn own_name(parts: &[&str]) -> String {
    let name = parts.join(".");
    format!("wasm.{}", name.strip_prefix("wasm.").unwrap_or(&name))
}

fn own(stream: &Stream, parts: &[&str]) -> Option<Value> {
    let name = own_name(parts);
    let bytes = stream.properties.borrow().iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone());
    bytes.or_else(|| {
        let attributes = stream.exchange.attributes.borrow();
        attributes.iter().find(|(known, _)| *known == name).map(|(_, value)| text(value))
    })
}

fn set(guest: &mut Guest<'_>, path: u32, length: u32, value: u32, bytes: u32) -> Done {
    let (path, value) = (copy(guest, path, length)?, copy(guest, value, bytes)?);
    let path = String::from_utf8(path).map_err(|_| Status::BadArgument)?;
    put(guest, &path, value)
}

/// Sets a property of a plugin's own.
///
/// # Errors
/// Outside of an exchange, over a limit, and where it was declared to be set once and is.
pub(super) fn put(guest: &Guest<'_>, path: &str, value: Vec<u8>) -> Done {
    if path.len() > BYTES_MAX || value.len() > BYTES_MAX {
        return Err(Status::InternalFailure);
    }
    let stream = stream(guest).ok_or(Status::NotFound)?;
    let parts: Vec<_> = path.trim_end_matches('\0').split('\0').collect();
    let name = own_name(&parts);
    if name.chars().any(char::is_control) {
        return Err(Status::BadArgument);
    }
    let root = guest.data().roots.get(&stream.local.root.get());
    if root.is_some_and(|root| root.declared.get(path) == Some(&true)) && own(&stream, &parts).is_some() {
        return Err(Status::BadArgument);
    }
    // Higress's, by which a plugin says that what it changes is for the upstream alone.
    if name == "wasm.clear_route_cache" {
        stream.keeps_route.set(value == b"off" || stream.local.plugin.proxy_wasm.keep_route);
    }
    match String::from_utf8(value) {
        Ok(value) => {
            stream.properties.borrow_mut().retain(|(known, _)| *known != name);
            keep(&mut stream.exchange.attributes.borrow_mut(), name, value)
        }
        Err(error) => keep(&mut stream.properties.borrow_mut(), name, error.into_bytes()),
    }
}

fn keep<T>(all: &mut Vec<(String, T)>, name: String, value: T) -> Done {
    match all.iter().position(|(known, _)| *known == name) {
        Some(place) => all[place].1 = value,
        None if all.len() >= SET_MAX => return Err(Status::InternalFailure),
        None => all.push((name, value)),
    }
    Ok(())
}
