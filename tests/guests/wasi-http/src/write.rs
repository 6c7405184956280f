//! Answers: heads and bodies.

use wasip2::{
    http::types::{Fields, OutgoingBody, OutgoingResponse, ResponseOutparam, Trailers},
    io::streams::{OutputStream, StreamError},
};

/// A body that is being written.
pub(crate) struct Writing {
    pub(crate) body: OutgoingBody,
    pub(crate) stream: OutputStream,
}

/// Sends a head.
pub(crate) fn answer(out: ResponseOutparam, status: u16, headers: Fields) -> Writing {
    let response = OutgoingResponse::new(headers);
    response.set_status_code(status).expect("a status");
    let body = response.body().expect("the first time");
    ResponseOutparam::set(out, Ok(response));
    let stream = body.write().expect("the first time");
    Writing { body, stream }
}

/// Sends a short text.
pub(crate) fn text(out: ResponseOutparam, status: u16, text: &str) {
    let headers = fields(&[("content-type", "text/plain"), ("x-by", "wasi")]);
    let mut writing = answer(out, status, headers);
    // Nobody reads what is sent in answer to HEAD.
    drop(writing.write(text.as_bytes()));
    writing.finish(None);
}

/// Fields of a head.
pub(crate) fn fields(list: &[(&str, &str)]) -> Fields {
    let list: Vec<_> = list.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect();
    Fields::from_list(&list).expect("valid fields")
}

/// Which fields may not be set.
pub(crate) fn refused() -> String {
    let names = ["connection", "host", "transfer-encoding", "upgrade", "keep-alive", "x-own"];
    let refused = |name: &&&str| Fields::new().set(name, &[b"x".to_vec()]).is_err();
    names.iter().filter(refused).copied().collect::<Vec<_>>().join(" ")
}

impl Writing {
    /// Writes all of it, as fast as it is read.
    pub(crate) fn write(&mut self, mut bytes: &[u8]) -> Result<(), StreamError> {
        while !bytes.is_empty() {
            self.stream.subscribe().block();
            let room = self.stream.check_write()? as usize;
            let (now, later) = bytes.split_at(bytes.len().min(room));
            self.stream.write(now)?;
            bytes = later;
        }
        Ok(())
    }

    /// Ends it.
    pub(crate) fn finish(self, trailers: Option<Trailers>) {
        drop(self.stream);
        drop(OutgoingBody::finish(self.body, trailers));
    }
}
