//! Calls and streams of gRPC, as modules open, feed, close and cancel them.

use http::{HeaderValue, Method, header, request};
use tokio::sync::mpsc;
use wasmtime::{Linker, Result};

use super::{Done, Guest, Status, answers, calls, services};
use crate::{
    exchange::{Authority, rpc},
    wasm::{
        plugin::Plugin,
        proxy_wasm::{
            data::{Asked, Conversation, Data, Messages, Opening},
            fields::{fields, parsed_authority, parsed_target},
            guest::{copy, write_u32},
            messages::{GrpcService, decode},
            pairs,
        },
    },
};

/// Messages of one stream that wait to be sent; one more is refused.
const MESSAGES_MAX: usize = 64;

type Part = (u32, u32);

pub(super) fn link(linker: &mut Linker<Data>) -> Result<()> {
    let call = |mut guest: Guest<'_>,
                upstream: u32,
                upstream_length: u32,
                service: u32,
                service_length: u32,
                method: u32,
                method_length: u32,
                metadata: u32,
                metadata_length: u32,
                message: u32,
                message_length: u32,
                timeout: u32,
                token: u32| {
        let parts = [(upstream, upstream_length), (service, service_length), (method, method_length)];
        let message = Some(((message, message_length), timeout));
        super::code(open(&mut guest, parts, (metadata, metadata_length), message, token))
    };
    linker.func_wrap("env", "proxy_grpc_call", call)?;
    let stream = |mut guest: Guest<'_>,
                  upstream: u32,
                  upstream_length: u32,
                  service: u32,
                  service_length: u32,
                  method: u32,
                  method_length: u32,
                  metadata: u32,
                  metadata_length: u32,
                  token: u32| {
        let parts = [(upstream, upstream_length), (service, service_length), (method, method_length)];
        super::code(open(&mut guest, parts, (metadata, metadata_length), None, token))
    };
    linker.func_wrap("env", "proxy_grpc_stream", stream)?;
    answers!(linker, "proxy_grpc_cancel", cancel, token: u32);
    answers!(linker, "proxy_grpc_close", close, token: u32);
    answers!(linker, "proxy_grpc_send", send, token: u32, message: u32, length: u32, end: u32);
    Ok(())
}

// A call, if there is a message to send with it, and a stream otherwise.
fn open(
    guest: &mut Guest<'_>,
    [upstream, service, method]: [Part; 3],
    metadata: Part,
    message: Option<(Part, u32)>,
    token_at: u32,
) -> Done {
    let upstream = copy(guest, upstream.0, upstream.1)?;
    let (service, method) = (copy(guest, service.0, service.1)?, copy(guest, method.0, method.1)?);
    let metadata = copy(guest, metadata.0, metadata.1)?;
    let one = message.map(|((at, length), timeout)| copy(guest, at, length).map(|message| (message, timeout)));
    let one = one.transpose()?;
    write_u32(guest, token_at, 0)?;
    let plugin = services::plugin(guest).ok_or(Status::InternalFailure)?;
    let (name, authority) = named(&plugin, &upstream)?;
    let upstream = calls::granted(&plugin, &name).ok_or(Status::ParseFailure)?;
    let pairs = pairs::read(&metadata)?;
    let mut head = head(&service, &method, &pairs)?;
    let authority = authority_of(&pairs, authority, &name)?;
    let root = services::root(guest)?;
    let bytes = metadata.len() + one.as_ref().map_or(0, |(message, _)| message.len());
    let held = guest.data().outbox.hold(bytes)?;
    let stream = calls::count(guest, &plugin)?;
    let data = guest.data_mut();
    let token = data.next_token();
    let (messages, timeout) = match one {
        Some((message, millis)) => {
            let timeout = calls::timeout(&plugin, millis);
            rpc::tell_timeout(&mut head.headers, timeout);
            data.conversations.insert(token, Conversation::Call);
            (Messages::One(message.into()), Some(timeout))
        }
        None => {
            let (sender, receiver) = mpsc::channel(MESSAGES_MAX);
            data.conversations.insert(token, Conversation::Stream(Some(sender)));
            (Messages::Many(receiver), None)
        }
    };
    let bytes_max = plugin.limits.call_bytes_max;
    let opening = Opening { token, root, stream, upstream, head, authority, messages, held, timeout, bytes_max };
    if let Err(status) = services::ask(guest, Asked::Open(Box::new(opening))) {
        guest.data_mut().conversations.remove(&token);
        return Err(status);
    }
    write_u32(guest, token_at, token)
}

// An upstream is said by its name, or as Envoy's message for it.
fn named(plugin: &Plugin, bytes: &[u8]) -> Done<(String, String)> {
    if let Ok(name) = std::str::from_utf8(bytes)
        && calls::granted(plugin, name).is_some()
    {
        return Ok((name.to_owned(), String::new()));
    }
    let service = decode::<GrpcService>(bytes)?;
    let service = service.envoy_grpc.ok_or(Status::ParseFailure)?;
    Ok((service.cluster_name, service.authority))
}

fn head(service: &[u8], method: &[u8], pairs: &[(&[u8], &[u8])]) -> Done<request::Parts> {
    let text = |bytes| std::str::from_utf8(bytes).map_err(|_| Status::BadArgument);
    let (mut head, ()) = http::Request::new(()).into_parts();
    head.method = Method::POST;
    head.uri = parsed_target(&format!("/{}/{}", text(service)?, text(method)?))?;
    head.headers = fields(pairs)?;
    head.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    head.headers.insert(header::TE, HeaderValue::from_static("trailers"));
    Ok(head)
}

fn authority_of(pairs: &[(&[u8], &[u8])], authority: String, name: &str) -> Done<Authority> {
    let said = pairs.iter().find(|(known, _)| *known == b":authority").map(|(_, value)| *value);
    let said = said.and_then(|value| std::str::from_utf8(value).ok());
    let text = said.or(Some(&*authority).filter(|text| !text.is_empty())).unwrap_or(name);
    // A name that a module has for an upstream may be none of a host.
    parsed_authority(text).or_else(|_| parsed_authority("upstream"))
}

fn send(guest: &mut Guest<'_>, token: u32, message: u32, length: u32, end: u32) -> Done {
    let message = copy(guest, message, length)?;
    let held = guest.data().outbox.hold(message.len())?;
    match guest.data_mut().conversations.get_mut(&token).ok_or(Status::NotFound)? {
        Conversation::Call | Conversation::Stream(None) => Err(Status::BadArgument),
        Conversation::Stream(to) => {
            let sender = to.as_ref().ok_or(Status::BadArgument)?;
            sender.try_send((message.into(), held)).map_err(|_| Status::InternalFailure)?;
            if end != 0 {
                *to = None;
            }
            Ok(())
        }
    }
}

// Nothing more is sent on a stream. A call is given up.
fn close(guest: &mut Guest<'_>, token: u32) -> Done {
    match guest.data_mut().conversations.get_mut(&token).ok_or(Status::NotFound)? {
        Conversation::Call => cancel(guest, token),
        Conversation::Stream(to) => {
            *to = None;
            Ok(())
        }
    }
}

fn cancel(guest: &mut Guest<'_>, token: u32) -> Done {
    guest.data_mut().conversations.remove(&token).ok_or(Status::NotFound)?;
    services::ask(guest, Asked::Cancel { token })
}

impl Data {
    /// A number for something that is under way.
    pub(super) const fn next_token(&mut self) -> u32 {
        self.last_token = self.last_token.wrapping_add(1);
        if self.last_token == 0 {
            self.last_token = 1;
        }
        self.last_token
    }
}
