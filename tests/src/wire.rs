//! HTTP/1.1 on the wire, in the least code that reads what a correct peer sends: what origin and raw client share.
//! Deliberately not the gateway's own codec, nor the library behind it.

use std::io;

use serde_json::{Value, json};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt};

/// A start line and fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// Request or status line, without its end.
    pub first: String,
    /// As they came, names in their own case.
    pub fields: Vec<(String, String)>,
}

/// A body that was read to its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Whole {
    /// Without framing.
    pub bytes: Vec<u8>,
    /// Fields after the last chunk.
    pub trailers: Vec<(String, String)>,
}

/// How the end of a body is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// After so many bytes.
    Length(u64),
    /// After the last chunk.
    Chunked,
    /// With the connection.
    Close,
}

impl Head {
    /// The values of a field, joined as RFC 9110 section 5.3 has it; `None` where there is none.
    pub fn field(&self, name: &str) -> Option<String> {
        let values: Vec<_> =
            self.fields.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str()).collect();
        (!values.is_empty()).then(|| values.join(", "))
    }

    /// The method of a request line.
    pub fn method(&self) -> &str {
        self.first.split(' ').next().unwrap_or_default()
    }

    /// The target of a request line.
    pub fn target(&self) -> &str {
        self.first.split(' ').nth(1).unwrap_or_default()
    }

    /// The status of a status line; 0 where it is none.
    pub fn status(&self) -> u16 {
        self.first.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
    }

    /// The framing that the fields announce; `otherwise` where they announce none.
    pub fn framing(&self, otherwise: Framing) -> Framing {
        if self.field("transfer-encoding").is_some() {
            return Framing::Chunked;
        }
        self.field("content-length").and_then(|length| length.parse().ok()).map_or(otherwise, Framing::Length)
    }

    /// The fields as JSON: an array of pairs, names lower-case.
    pub fn json(&self) -> Value {
        self.fields.iter().map(|(name, value)| json!([name.to_ascii_lowercase(), value])).collect()
    }
}

/// Reads a head; `None` where the peer closed before its first byte.
///
/// # Errors
/// The socket's, and `UnexpectedEof` in the middle of a head.
pub async fn read_head(from: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Option<Head>> {
    let Some(first) = read_line(from).await? else { return Ok(None) };
    Ok(Some(Head { first, fields: read_fields(from).await? }))
}

/// Reads one piece of a body: a chunk, or what is there at the moment. `None` at its end, with the trailers.
///
/// # Errors
/// The socket's; `InvalidData` for a chunk size that is none.
pub async fn read_piece(
    from: &mut (impl AsyncBufRead + Unpin),
    framing: &mut Framing,
) -> io::Result<Result<Vec<u8>, Vec<(String, String)>>> {
    match framing {
        Framing::Length(0) => Ok(Err(Vec::new())),
        Framing::Length(left) => {
            let most = usize::try_from(*left).unwrap_or(usize::MAX).min(64 * 1024);
            let mut piece = vec![0; most];
            let read = from.read(&mut piece).await?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            *left -= read as u64;
            piece.truncate(read);
            Ok(Ok(piece))
        }
        Framing::Chunked => {
            let line = read_line(from).await?.ok_or(io::ErrorKind::UnexpectedEof)?;
            let size = line.split(';').next().unwrap_or_default().trim();
            let size = usize::from_str_radix(size, 16).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, line))?;
            if size == 0 {
                *framing = Framing::Length(0);
                return Ok(Err(read_fields(from).await?));
            }
            let mut piece = vec![0; size + 2];
            from.read_exact(&mut piece).await?;
            piece.truncate(size);
            Ok(Ok(piece))
        }
        Framing::Close => {
            let mut piece = vec![0; 64 * 1024];
            let read = from.read(&mut piece).await?;
            piece.truncate(read);
            Ok(if read == 0 { Err(Vec::new()) } else { Ok(piece) })
        }
    }
}

/// Reads a body to its end.
///
/// # Errors
/// See [`read_piece`].
pub async fn read_whole(from: &mut (impl AsyncBufRead + Unpin), mut framing: Framing) -> io::Result<Whole> {
    let mut bytes = Vec::new();
    loop {
        match read_piece(from, &mut framing).await? {
            Ok(piece) => bytes.extend(piece),
            Err(trailers) => return Ok(Whole { bytes, trailers }),
        }
    }
}

/// A short digest of a body (FNV-1a), the same at both ends of the gateway.
pub fn digest(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

async fn read_line(from: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    if from.read_until(b'\n', &mut line).await? == 0 {
        return Ok(None);
    }
    if line.pop() != Some(b'\n') {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Ok(Some(String::from_utf8_lossy(&line).into_owned()))
}

async fn read_fields(from: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Vec<(String, String)>> {
    let mut fields = Vec::new();
    loop {
        let line = read_line(from).await?.ok_or(io::ErrorKind::UnexpectedEof)?;
        if line.is_empty() {
            return Ok(fields);
        }
        let (name, value) = line.split_once(':').unwrap_or((&line, ""));
        fields.push((name.to_owned(), value.trim().to_owned()));
    }
}
