//! The rest of a body, for a call that asks for it.

use std::{future::poll_fn, rc::Rc, task::Poll};

use wasmtime::{Error, Result};

use super::bindings::tidegate::plugin::body::{Chunk, Host};
use crate::wasm::{call::active, guest::Data, pull::Pull};

impl Host for Data {
    fn replace(&mut self, bytes: Vec<u8>) -> Result<()> {
        pull(|pull| pull.replace(bytes))
    }

    async fn next(&mut self) -> Result<Result<Option<Chunk>, String>> {
        if !pull(Pull::ask)? {
            return Ok(Ok(None));
        }
        // Nobody wakes this: whoever gives the chunk polls the call.
        let next = poll_fn(|_| match pull(Pull::answered) {
            Ok(None) => Poll::Pending,
            Ok(Some(next)) => Poll::Ready(Ok(next)),
            Err(error) => Poll::Ready(Err(error)),
        });
        Ok(next.await?.map(|(bytes, last)| Some(Chunk { bytes, last })))
    }

    fn pass_rest(&mut self) -> Result<()> {
        pull(Pull::pass_rest)
    }
}

fn pull<R>(f: impl FnOnce(&Pull) -> R) -> Result<R> {
    active(|visit| {
        let pull = visit.pull.borrow().as_ref().map(Rc::clone);
        let nowhere = || Error::msg("a body is asked for elsewhere than in on-request-chunk and on-response-chunk");
        Ok(f(&*pull.ok_or_else(nowhere)?))
    })
}
