//! Bodies: read in parts, waiting for what is not there yet, and written.

use std::{future::poll_fn, rc::Rc, task::Poll};

use bytes::Bytes;
use wasmtime::{Error, Linker, Result, bail};

use super::Guest;
use crate::{
    config::spec::FailurePolicy,
    error::{Error as Failure, Kind},
    wasm::{
        http_wasm::{
            body::Unread,
            data::Data,
            provided::HANDLER,
            sight::active,
            visit::{Cause, Visit, feature},
        },
        memory::{read, write},
    },
};

/// `body_kind`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    Request,
    Response,
}

impl Of {
    fn kind(kind: u32) -> Result<Self> {
        Ok(match kind {
            0 => Self::Request,
            1 => Self::Response,
            _ => bail!("{kind} is no kind of body"),
        })
    }
}

pub(super) fn link(linker: &mut Linker<Data>) -> Result<()> {
    linker.func_wrap_async(HANDLER, "read_body", |mut guest: Guest<'_>, (kind, at, limit): (u32, u32, u32)| {
        Box::new(async move { read_body(&mut guest, Of::kind(kind)?, at, limit).await })
    })?;
    linker.func_wrap(HANDLER, "write_body", |mut guest: Guest<'_>, kind: u32, at: u32, length: u32| -> Result<()> {
        let of = Of::kind(kind)?;
        let bytes = read(&mut guest, at, length)?;
        active(|visit| write_body(visit, of, bytes))
    })?;
    Ok(())
}

// `eof_len`: fills the buffer, or comes to the end.
async fn read_body(guest: &mut Guest<'_>, of: Of, at: u32, limit: u32) -> Result<u64> {
    const EOF: u64 = 1 << 32;
    if limit == 0 {
        bail!("it reads a body into nothing");
    }
    // The whole buffer is the guest's, whatever comes.
    read(guest, at, limit)?;
    active(|visit| may_read(visit, of))?;
    let mut length = 0;
    while length < limit {
        let room = (limit - length) as usize;
        let next = poll_fn(|cx| {
            let polled = active(|visit| {
                let polled = poll(visit, of, room, cx);
                visit.waits.set(polled.is_pending());
                Ok(polled)
            });
            polled.unwrap_or_else(|error| Poll::Ready(Err(error)))
        });
        let Some(chunk) = next.await? else { return Ok(EOF | u64::from(length)) };
        write(guest, at + length, &chunk)?;
        length += u32::try_from(chunk.len())?;
    }
    let ended = active(|visit| Ok(is_at_end(visit, of)))?;
    Ok(u64::from(length) | if ended { EOF } else { 0 })
}

fn may_read(visit: &Visit, of: Of) -> Result<()> {
    match of {
        Of::Request if visit.after_next.get() && !visit.has(feature::BUFFER_REQUEST) => {
            bail!("it reads the body of a request that went on, and did not enable buffer_request")
        }
        Of::Response if visit.after_next.get() && !visit.has(feature::BUFFER_RESPONSE) => {
            bail!("it reads the body of a response that came, and did not enable buffer_response")
        }
        _ => Ok(()),
    }
}

fn poll(visit: &Rc<Visit>, of: Of, room: usize, cx: &mut std::task::Context<'_>) -> Poll<Result<Option<Bytes>>> {
    let plugin = visit.local.plugin();
    let bytes_max = plugin.limits.buffer_bytes_max;
    let polled = match of {
        Of::Request => {
            // Where a failure is to be none, the request must be there as it was.
            let keeps = visit.has(feature::BUFFER_REQUEST) || plugin.on_failure == FailurePolicy::Open;
            visit.request_body.borrow_mut().poll_read(cx, room, keeps.then_some(bytes_max))
        }
        Of::Response if visit.after_next.get() => visit.response_body.borrow_mut().poll_read(cx, room, Some(bytes_max)),
        // Its own answer, as far as it has written it.
        Of::Response => {
            let own = visit.response_body.borrow().written(visit.reread.get(), room);
            visit.reread.set(visit.reread.get() + own.len());
            Poll::Ready(Ok(Some(own).filter(|own| !own.is_empty())))
        }
    };
    polled.map_err(|unread| {
        let cause = match (unread, of) {
            (Unread::Broken(error), _) => Cause::Broken(error),
            (Unread::TooLarge, Of::Response) => Cause::TooLarge,
            (Unread::TooLarge, Of::Request) => {
                let detail = format!("plugin {} reads bodies up to {bytes_max} bytes", visit.local.name);
                Cause::Broken(Failure::new(Kind::BodyTooLarge, detail))
            }
        };
        visit.cause.replace(Some(cause));
        Error::msg("the body that it reads broke off, or is too large")
    })
}

fn is_at_end(visit: &Visit, of: Of) -> bool {
    match of {
        Of::Request => visit.request_body.borrow().is_at_end(),
        Of::Response if visit.after_next.get() => visit.response_body.borrow().is_at_end(),
        Of::Response => false,
    }
}

fn write_body(visit: &Visit, of: Of, bytes: &[u8]) -> Result<()> {
    let side = match of {
        Of::Request => {
            visit.before_next("request body")?;
            &visit.request_body
        }
        Of::Response => {
            visit.may_answer("body")?;
            if visit.response.borrow().switches {
                bail!("it writes the body of a response that changes protocols");
            }
            &visit.response_body
        }
    };
    let bytes_max = visit.local.plugin().limits.buffer_bytes_max;
    let written = side.borrow_mut().write(bytes, bytes_max);
    written.map_err(|()| Error::msg(format!("it writes a body over the limit of {bytes_max} bytes (buffer-bytes-max)")))
}
