//! What the origin answers by itself.

use std::io;

use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{handshake::derive_accept_key, protocol::Role},
};

use super::Socket;
use crate::wire::{self, Framing, Head, Whole};

/// Answers one request; `false` where the connection is through.
pub(super) async fn answer(name: &str, head: &Head, socket: &mut Socket) -> io::Result<bool> {
    let path = head.target().split('?').next().unwrap_or_default();
    match path {
        "/websocket" => return websocket(head, socket).await,
        "/upgrade" => return upgrade(head, socket).await,
        _ => {}
    }
    if head.field("expect").is_some() {
        socket.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        socket.flush().await?;
    }
    let body = wire::read_whole(socket, head.framing(Framing::Length(0))).await?;
    if path == "/hints" {
        socket.write_all(b"HTTP/1.1 103 Early Hints\r\nlink: </style.css>; rel=preload\r\n\r\n").await?;
    }
    let response = response(name, path, head, &body);
    socket.write_all(&response).await?;
    socket.flush().await?;
    Ok(path != "/close" && head.field("connection").is_none_or(|value| !value.eq_ignore_ascii_case("close")))
}

fn response(name: &str, path: &str, head: &Head, body: &Whole) -> Vec<u8> {
    let number = || path.rsplit('/').next().and_then(|number| number.parse().ok()).unwrap_or(0);
    if path.starts_with("/status/") {
        let length = if [204, 304].contains(&number()) { "" } else { "content-length: 0\r\n" };
        return format!("HTTP/1.1 {} Whatever\r\n{length}\r\n", number()).into_bytes();
    }
    if path.starts_with("/chunks/") {
        return chunks(number());
    }
    let (kind, content) = if path.starts_with("/bytes/") {
        ("application/octet-stream", vec![b'x'; number()])
    } else {
        ("application/json", echo(name, head, body))
    };
    let close = if path == "/close" { "connection: close\r\n" } else { "" };
    let length = content.len();
    let mut response = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\nx-origin: {name}\r\n{close}\r\n"
    )
    .into_bytes();
    if head.method() != "HEAD" {
        response.extend(content);
    }
    response
}

fn echo(name: &str, head: &Head, body: &Whole) -> Vec<u8> {
    let trailers = Head { first: String::new(), fields: body.trailers.clone() };
    let seen = json!({
        "origin": name,
        "method": head.method(),
        "target": head.target(),
        "headers": head.json(),
        "body_bytes": body.bytes.len(),
        "body_digest": wire::digest(&body.bytes),
        "trailers": trailers.json(),
    });
    seen.to_string().into_bytes()
}

fn chunks(count: usize) -> Vec<u8> {
    let mut response = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-digest\r\n\r\n".to_vec();
    for _ in 0..count {
        response.extend(b"a\r\n0123456789\r\n");
    }
    let digest = wire::digest("0123456789".repeat(count).as_bytes());
    response.extend(format!("0\r\nx-digest: {digest}\r\n\r\n").bytes());
    response
}

async fn upgrade(head: &Head, socket: &mut Socket) -> io::Result<bool> {
    let protocol = head.field("upgrade").unwrap_or_default();
    let response = format!("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: {protocol}\r\n\r\n");
    socket.write_all(response.as_bytes()).await?;
    socket.flush().await?;
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let read = socket.read(&mut buffer).await?;
        if read == 0 {
            return Ok(false);
        }
        socket.write_all(&buffer[..read]).await?;
        socket.flush().await?;
    }
}

async fn websocket(head: &Head, socket: &mut Socket) -> io::Result<bool> {
    let accept = derive_accept_key(head.field("sec-websocket-key").unwrap_or_default().as_bytes());
    let response = format!(
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: {accept}\r\n\r\n"
    );
    socket.write_all(response.as_bytes()).await?;
    socket.flush().await?;
    let mut messages = WebSocketStream::from_raw_socket(socket, Role::Server, None).await;
    while let Some(Ok(message)) = messages.next().await {
        let data = message.is_text() || message.is_binary();
        if data && messages.send(message).await.is_err() {
            break;
        }
    }
    Ok(false)
}
