//! A body as an iterator of chunks, in straight-line code. Asks the host for each; knows nothing of when or where.

use std::{
    cell::{Cell, RefCell},
    fmt,
    ops::Deref,
};

use crate::{BodyVerdict, Error, Result, Verdict, host::body};

/// The chunks of a body as they pass, each at most 64 KiB: what [`Plugin::on_request_stream`] and
/// [`Plugin::on_response_stream`] are given.
///
/// Asking for the next chunk sends the present one on, as it is or as [`Chunk::replace`] and [`Chunk::remove`] left it,
/// and waits until there is another and the reader asks for it: a slow reader slows the plugin, and that the sender. The
/// plugin's deadline begins anew with each chunk, and does not run while it waits. What is not asked for passes as it is.
///
/// An item is an error where the body breaks off (the client or the upstream is gone); it is the last then.
///
/// Variables last from one chunk to the next, because the guest stays in the call: it is nobody else's until the body is
/// at its end. Where many bodies stream slowly and little has to be remembered, [`Plugin::on_request_chunk`] holds
/// nothing between chunks.
///
/// [`Plugin::on_request_stream`]: crate::Plugin::on_request_stream
/// [`Plugin::on_response_stream`]: crate::Plugin::on_response_stream
/// [`Plugin::on_request_chunk`]: crate::Plugin::on_request_chunk
///
/// ```
/// use tidegate_guest::{Chunks, Phases, Plugin, Problems, Result, Verdict};
///
/// /// Numbers the lines of responses, however they are cut into chunks.
/// struct Numbered;
///
/// impl Plugin for Numbered {
///     type Settings = serde_json::Value;
///
///     fn new(_: serde_json::Value) -> Result<Self, Problems> {
///         Ok(Self)
///     }
///
///     fn phases(&self) -> Phases {
///         Phases::none().response_stream()
///     }
///
///     fn on_response_stream(&self, chunks: Chunks<'_>) -> Result<Verdict> {
///         let (mut line, mut begins) = (1, true);
///         for chunk in chunks {
///             let chunk = chunk?;
///             let mut numbered = Vec::new();
///             for byte in chunk.iter() {
///                 if std::mem::replace(&mut begins, *byte == b'\n') {
///                     numbered.extend_from_slice(format!("{line}: ").as_bytes());
///                     line += 1;
///                 }
///                 numbered.push(*byte);
///             }
///             chunk.replace(numbered)?;
///         }
///         Ok(Verdict::Proceed)
///     }
/// }
///
/// use tidegate_guest::testing::{ClientRequest, Host, UpstreamResponse, json};
///
/// let numbered = Host::new().load::<Numbered>(json!({})).unwrap();
/// let answer = || UpstreamResponse::new(200).chunks(["one\nt", "wo\n", "three"]);
/// let exchange = numbered.exchange(ClientRequest::get("/"), |_| answer());
/// assert_eq!(exchange.text(), "1: one\n2: two\n3: three");
/// ```
#[derive(Debug)]
pub struct Chunks<'a>(&'a Body);

/// A chunk of a body. Its bytes are those of the slice that it stands for.
///
/// ```
/// # use tidegate_guest::{Chunks, Result, Verdict};
/// fn on_response_stream(chunks: Chunks<'_>) -> Result<Verdict> {
///     let mut bytes = 0;
///     for chunk in chunks {
///         bytes += chunk?.len();
///     }
///     tidegate_guest::log::info(&format!("{bytes} bytes passed"));
///     Ok(Verdict::Proceed)
/// }
/// ```
pub struct Chunk<'a> {
    bytes: Vec<u8>,
    last: bool,
    number: u64,
    body: &'a Body,
}

/// How far a body is.
#[derive(Debug)]
pub(crate) struct Body {
    /// The chunk that the call was made with, until it is asked for.
    first: RefCell<Option<Vec<u8>>>,
    /// The present chunk is the last, or nothing follows for another reason.
    last: Cell<bool>,
    /// Of the present chunk.
    number: Cell<u64>,
}

/// Shows a body to a plugin, from its first chunk on.
pub(crate) fn show(
    first: Vec<u8>,
    last: bool,
    plugin: impl FnOnce(Chunks<'_>) -> Result<Verdict>,
) -> Result<BodyVerdict> {
    let shown = Body { first: RefCell::new(Some(first)), last: Cell::new(last), number: Cell::new(0) };
    match plugin(Chunks(&shown))? {
        Verdict::Respond(answer) => Ok(BodyVerdict::Respond(answer)),
        Verdict::Proceed => {
            if !shown.last.get() {
                body::pass_rest();
            }
            Ok(BodyVerdict::Pass)
        }
    }
}

impl<'a> Iterator for Chunks<'a> {
    type Item = Result<Chunk<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        let shown = self.0;
        let first = shown.first.take();
        let bytes = match first {
            Some(first) => first,
            None if shown.last.get() => return None,
            None => match body::next() {
                Ok(Some(chunk)) => {
                    shown.last.set(chunk.last);
                    chunk.bytes
                }
                ended => {
                    shown.last.set(true);
                    shown.number.set(shown.number.get() + 1);
                    return ended.err().map(|why| Err(Error::new(format!("the body broke off: {why}"))));
                }
            },
        };
        shown.number.set(shown.number.get() + 1);
        Some(Ok(Chunk { bytes, last: shown.last.get(), number: shown.number.get(), body: shown }))
    }
}

impl Chunk<'_> {
    /// Whether it is the last one, which may be empty. Where the end of a body shows only later, an empty one follows.
    ///
    /// ```
    /// # use tidegate_guest::{Chunks, Result, Verdict};
    /// fn on_request_stream(chunks: Chunks<'_>) -> Result<Verdict> {
    ///     for chunk in chunks {
    ///         let chunk = chunk?;
    ///         if chunk.is_last() {
    ///             let ended = [&chunk[..], b"\n"].concat();
    ///             chunk.replace(ended)?;
    ///         }
    ///     }
    ///     Ok(Verdict::Proceed)
    /// }
    /// ```
    pub const fn is_last(&self) -> bool {
        self.last
    }

    /// Puts other bytes in its place.
    ///
    /// # Errors
    /// When the next chunk has been asked for: this one has passed.
    ///
    /// ```
    /// # use tidegate_guest::{Chunks, Result, Verdict};
    /// fn on_response_stream(chunks: Chunks<'_>) -> Result<Verdict> {
    ///     for chunk in chunks {
    ///         let chunk = chunk?;
    ///         let upper = chunk.to_ascii_uppercase();
    ///         chunk.replace(upper)?;
    ///     }
    ///     Ok(Verdict::Proceed)
    /// }
    /// ```
    pub fn replace(self, bytes: impl AsRef<[u8]>) -> Result<()> {
        if self.number != self.body.number.get() {
            return Err(Error::new("a chunk has passed when the next is asked for: replace it before"));
        }
        body::replace(bytes.as_ref());
        Ok(())
    }

    /// Takes it out of the body.
    ///
    /// # Errors
    /// As [`Chunk::replace`].
    ///
    /// ```
    /// # use tidegate_guest::{Chunks, Result, Verdict};
    /// fn only_the_first_megabyte(chunks: Chunks<'_>) -> Result<Verdict> {
    ///     let mut passed = 0;
    ///     for chunk in chunks {
    ///         let chunk = chunk?;
    ///         passed += chunk.len();
    ///         if passed > 1 << 20 {
    ///             chunk.remove()?;
    ///         }
    ///     }
    ///     Ok(Verdict::Proceed)
    /// }
    /// ```
    pub fn remove(self) -> Result<()> {
        self.replace([])
    }
}

impl Deref for Chunk<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl fmt::Debug for Chunk<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chunk").field("bytes", &self.bytes.len()).field("last", &self.last).finish_non_exhaustive()
    }
}
