//! The phases of one exchange in the gateway's order, and what each verdict or failure means for what follows.

use std::rc::Rc;

use http::{Method, header};

use super::{
    exchange::{Loaded, Visit},
    heads::{self, ResponseHead, unchecked},
    imports::http as resource,
    messages::{Forwarded, Message, Received, UpstreamResponse},
    passing::Passing,
    scope,
};
use crate::{
    BodyVerdict, Error, LocalResponse, Plugin, Request, Response, Result, Verdict, chunks::show, plugin::Mode,
};

/// One exchange on its way. `Err` is how it ended before its time.
pub(super) struct Run<'a, P> {
    loaded: &'a Loaded<P>,
    pub(super) visit: Rc<Visit>,
    pub(super) failure: Option<String>,
    pub(super) skipped: bool,
    pub(super) forwarded: Option<Forwarded>,
    pub(super) error: Option<String>,
}

type Chunks = Vec<Vec<u8>>;

impl<'a, P: Plugin> Run<'a, P> {
    pub(super) fn new(loaded: &'a Loaded<P>, visit: Visit) -> Self {
        let visit = Rc::new(visit);
        Self { loaded, visit, failure: None, skipped: false, forwarded: None, error: None }
    }

    /// From the request's head to the response's last byte.
    pub(super) fn run(
        &mut self,
        request: Chunks,
        upstream: impl FnOnce(&Forwarded) -> UpstreamResponse,
    ) -> Result<Received, Received> {
        let is_head = self.visit.request.borrow().method == Method::HEAD;
        self.request_head()?;
        let chunks = self.request_body(request)?;
        let forwarded = self.forwarded(chunks);
        let answer = upstream(&forwarded);
        self.forwarded = Some(forwarded);
        self.error.clone_from(&answer.error);
        self.visit.receive(&answer);
        let mut chunks = if is_head { Chunks::new() } else { answer.chunks };
        self.response_head(&mut chunks)?;
        if !is_head {
            chunks = self.response_body(chunks)?;
        }
        let head = self.visit.response.borrow();
        Ok(Received { status: head.status, message: Message { fields: heads::all(&head.fields), chunks } })
    }

    fn request_head(&mut self) -> Result<(), Received> {
        if !self.loaded.plugin.phases().request {
            return Ok(());
        }
        match self.attempt(|plugin| plugin.on_request(Request(&resource::Request)))? {
            Some(Verdict::Respond(answer)) => self.answer(answer),
            Some(Verdict::Proceed) | None => Ok(()),
        }
    }

    fn request_body(&mut self, chunks: Chunks) -> Result<Chunks, Received> {
        let wish = self.visit.request_body.get();
        match self.loaded.plugin.phases().request_body {
            None => Ok(chunks),
            Some(_) if self.skipped || wish.skip => Ok(chunks),
            Some(Mode::Chunks | Mode::Stream) if is_empty(&chunks) => Ok(chunks),
            Some(mode @ (Mode::Chunks | Mode::Stream)) => {
                self.visit.request.borrow_mut().fields.remove(header::CONTENT_LENGTH);
                let see = |plugin: &P, chunk, last| match mode {
                    Mode::Stream => show(chunk, last, |chunks| plugin.on_request_stream(chunks)),
                    _ => plugin.on_request_chunk(chunk, last),
                };
                self.streamed(chunks, see, true)
            }
            Some(Mode::Whole(bytes_max)) => {
                let bytes = chunks.concat();
                if bytes.len() > self.bound(bytes_max) {
                    return if wish.pass_large { Ok(chunks) } else { Err(self.ended(413, "body_too_large")) };
                }
                let verdict =
                    self.attempt(|plugin| plugin.on_request_body(Request(&resource::Request), bytes.clone()))?;
                match verdict {
                    Some(BodyVerdict::Respond(answer)) => self.answer(answer).map(|()| chunks),
                    Some(BodyVerdict::Replace(bytes)) => {
                        let length = bytes.len().into();
                        self.visit.request.borrow_mut().fields.insert(header::CONTENT_LENGTH, length);
                        Ok(vec![bytes])
                    }
                    Some(BodyVerdict::Pass) | None => Ok(chunks),
                }
            }
        }
    }

    fn response_head(&mut self, chunks: &mut Chunks) -> Result<(), Received> {
        if !self.skipped {
            self.visit.ahead.take().apply(&mut self.visit.response.borrow_mut().fields);
        }
        if !self.loaded.plugin.phases().response {
            return Ok(());
        }
        if let Some(Verdict::Respond(answer)) =
            self.attempt(|plugin| plugin.on_response(Response(&resource::Response)))?
        {
            self.replace_response(answer, chunks)?;
        }
        let mut head = self.visit.response.borrow_mut();
        if matches!(head.status, 204 | 304) && !is_empty(chunks) {
            head.fields.remove(header::CONTENT_LENGTH);
            chunks.clear();
        }
        Ok(())
    }

    fn response_body(&mut self, mut chunks: Chunks) -> Result<Chunks, Received> {
        let wish = self.visit.response_body.get();
        let none = matches!(self.visit.response.borrow().status, 100..=199 | 204 | 304);
        match self.loaded.plugin.phases().response_body {
            None => Ok(chunks),
            Some(_) if none || self.skipped || wish.skip => Ok(chunks),
            Some(Mode::Chunks | Mode::Stream) if is_empty(&chunks) => Ok(chunks),
            Some(mode @ (Mode::Chunks | Mode::Stream)) => {
                self.visit.response.borrow_mut().fields.remove(header::CONTENT_LENGTH);
                let see = |plugin: &P, chunk, last| match mode {
                    Mode::Stream => show(chunk, last, |chunks| plugin.on_response_stream(chunks)),
                    _ => plugin.on_response_chunk(chunk, last),
                };
                self.streamed(chunks, see, false)
            }
            Some(Mode::Whole(bytes_max)) => {
                let bytes = chunks.concat();
                if bytes.len() > self.bound(bytes_max) {
                    return match wish.pass_large {
                        true => Ok(chunks),
                        false => self.fail("a response body is over the limit for buffering it").map(|()| chunks),
                    };
                }
                let verdict =
                    self.attempt(|plugin| plugin.on_response_body(Response(&resource::Response), bytes.clone()))?;
                match verdict {
                    Some(BodyVerdict::Respond(answer)) => self.replace_response(answer, &mut chunks).map(|()| chunks),
                    Some(BodyVerdict::Replace(bytes)) => {
                        let length = bytes.len().into();
                        self.visit.response.borrow_mut().fields.insert(header::CONTENT_LENGTH, length);
                        Ok(vec![bytes])
                    }
                    Some(BodyVerdict::Pass) | None => Ok(chunks),
                }
            }
        }
    }

    fn streamed(
        &mut self,
        chunks: Chunks,
        see: impl Fn(&P, Vec<u8>, bool) -> Result<BodyVerdict>,
        may_answer: bool,
    ) -> Result<Chunks, Received> {
        self.visit.passing.replace(Some(Passing::new(chunks)));
        while let Some((piece, last)) = self.passing(Passing::begin) {
            match self.attempt(|plugin| see(plugin, piece, last))? {
                Some(BodyVerdict::Replace(bytes)) => self.passing(|passing| passing.replace(bytes)),
                Some(BodyVerdict::Respond(answer)) if may_answer => self.answer(answer)?,
                Some(BodyVerdict::Respond(_)) => self.fail("it answers in the middle of a response's body")?,
                Some(BodyVerdict::Pass) => {}
                None => self.passing(Passing::undo),
            }
        }
        let passed = self.visit.passing.take().map_or_else(Chunks::new, Passing::passed);
        Ok(passed)
    }

    fn passing<T>(&self, f: impl FnOnce(&mut Passing) -> T) -> T {
        f(self.visit.passing.borrow_mut().as_mut().expect("set before the first chunk, taken after the last"))
    }

    /// Calls one phase. `None`: it failed, now or before, and the exchange goes on without the plugin.
    pub(super) fn attempt<T>(&mut self, phase: impl FnOnce(&P) -> Result<T>) -> Result<Option<T>, Received> {
        if self.skipped {
            return Ok(None);
        }
        let before = (self.visit.request.borrow().clone(), self.visit.response.borrow().clone());
        let scope = self.loaded.host.scope(Some(Rc::clone(&self.visit)));
        match scope::enter(scope, || phase(&self.loaded.plugin)) {
            Ok(answer) => Ok(Some(answer)),
            Err(error) => {
                if self.loaded.open {
                    self.visit.request.replace(before.0);
                    self.visit.response.replace(before.1);
                }
                self.failed(error)
            }
        }
    }

    fn failed<T>(&mut self, error: Error) -> Result<Option<T>, Received> {
        self.fail(&error.to_string()).map(|()| None)
    }

    fn fail(&mut self, text: &str) -> Result<(), Received> {
        self.failure = Some(text.to_owned());
        if self.loaded.open {
            self.skipped = true;
            return Ok(());
        }
        Err(self.ended(503, "plugin_failed"))
    }

    // The plugin's own answer ends the exchange, if it is valid.
    fn answer(&mut self, answer: LocalResponse) -> Result<(), Received> {
        match received(answer) {
            Some(received) => Err(received),
            None => self.fail("its answer is not valid HTTP, or sets a field that is not its to set"),
        }
    }

    fn replace_response(&mut self, answer: LocalResponse, chunks: &mut Chunks) -> Result<(), Received> {
        match received(answer) {
            Some(Received { status, message }) => {
                let fields = unchecked(&message.fields);
                self.visit.response.replace(ResponseHead { status, fields });
                *chunks = message.chunks;
                Ok(())
            }
            None => self.fail("its answer is not valid HTTP, or sets a field that is not its to set"),
        }
    }

    fn ended(&mut self, status: u16, error: &str) -> Received {
        self.error = Some(error.to_owned());
        Received { status, message: Message::default() }
    }

    fn forwarded(&self, chunks: Chunks) -> Forwarded {
        let head = self.visit.request.borrow();
        Forwarded {
            method: head.method.to_string(),
            authority: head.authority.to_string(),
            path: head.target.path().to_owned(),
            query: head.target.query().map(str::to_owned),
            message: Message { fields: heads::all(&head.fields), chunks },
        }
    }

    fn bound(&self, bytes_max: u32) -> usize {
        (bytes_max as usize).min(self.loaded.host.limits().buffer_bytes_max)
    }
}

// A plugin's own answer as it goes out, if it is valid.
fn received(answer: LocalResponse) -> Option<Received> {
    if !(200..=599).contains(&answer.status) {
        return None;
    }
    let mut fields = heads::fields(&answer.fields).ok()?;
    fields.insert(header::CONTENT_LENGTH, answer.body.len().into());
    let chunks = if answer.body.is_empty() { Chunks::new() } else { vec![answer.body] };
    Some(Received { status: answer.status, message: Message { fields: heads::all(&fields), chunks } })
}

fn is_empty(chunks: &Chunks) -> bool {
    chunks.iter().all(Vec::is_empty)
}
