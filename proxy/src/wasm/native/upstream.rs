//! Calls to upstreams: the guest waits in straight-line code, a task on its worker does the work, and a channel is all
//! that is between them, because a store must be `Send` and an exchange is not.

use std::{
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use http::{Method, header};
use http_body_util::BodyExt;
use tokio::{sync::oneshot, task::AbortHandle};
use wasmtime::Result;

use super::{
    bindings::tidegate::plugin::upstream::{CallError, CallRequest, CallResponse, Host},
    http::{all, fields, target},
};
use crate::{
    error::Kind,
    exchange::{Body, Call, Exchange, ParentSpan, Request, Timers, trace::TRACEPARENT},
    wasm::{
        call::{Visit, active},
        guest::Data,
    },
};

type Answer = Result<CallResponse, CallError>;

impl Host for Data {
    async fn call(&mut self, upstream: String, request: CallRequest) -> Result<Answer> {
        let (receiver, _task) = match active(|visit| Ok(begin(visit, &upstream, request)))? {
            Ok(begun) => begun,
            Err(refused) => return Ok(Err(refused)),
        };
        // The sender is dropped without an answer only when the worker ends.
        Ok(receiver.await.unwrap_or_else(|_| Err(CallError::Failed(Kind::Overloaded.name().into()))))
    }
}

/// Ends the task of a call that nobody waits for any more.
struct Task(AbortHandle);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn begin(visit: &Visit, upstream: &str, request: CallRequest) -> Result<(oneshot::Receiver<Answer>, Task), CallError> {
    let plugin = &visit.local.plugin;
    let granted = Arc::clone(plugin.grants.get(upstream).ok_or(CallError::NotGranted)?);
    let calls = visit.calls.get();
    if calls >= plugin.limits.calls_max {
        return Err(CallError::TooMany);
    }
    visit.calls.set(calls + 1);
    // A time beyond what the clock can tell is no limit.
    let until = request.timeout_ms.and_then(|millis| Instant::now().checked_add(Duration::from_millis(millis)));
    let mut request = outgoing(upstream, request, Rc::clone(&visit.exchange))?;
    // What the plugin asks for is part of the same trace, unless it says otherwise.
    let trace = &visit.exchange.trace;
    if !request.head.headers.contains_key(&TRACEPARENT) {
        // Among more fields than a head can have, it is not there.
        drop(request.head.headers.try_insert(&TRACEPARENT, trace.traceparent(trace.span_id)));
    }
    if let Some(span) = visit.span.get() {
        request.head.extensions.insert(ParentSpan(span));
    }
    let bytes_max = plugin.limits.call_bytes_max;
    let timers = visit.exchange.worker.locals.of::<Timers>();
    let (sender, receiver) = oneshot::channel();
    let task = tokio::task::spawn_local(async move {
        let performed = perform(&*granted, request, bytes_max);
        let answer = match until {
            None => performed.await,
            Some(until) => timers
                .within(until, performed)
                .await
                .unwrap_or_else(|_| Err(CallError::Failed(Kind::UpstreamTimeout.name().into()))),
        };
        // Nobody waits any more where this fails.
        drop(sender.send(answer));
    });
    Ok((receiver, Task(task.abort_handle())))
}

fn outgoing(upstream: &str, request: CallRequest, exchange: Rc<Exchange>) -> Result<Box<Request>, CallError> {
    let (mut head, ()) = http::Request::new(()).into_parts();
    head.method = Method::from_bytes(request.method.as_bytes()).map_err(|_| CallError::Malformed)?;
    if matches!(head.method, Method::CONNECT | Method::TRACE) || !request.target.starts_with('/') {
        return Err(CallError::Malformed);
    }
    head.uri = target(request.target).map_err(|_| CallError::Malformed)?;
    head.headers = fields(request.fields).map_err(|_| CallError::Malformed)?;
    if !request.body.is_empty() {
        head.headers.insert(header::CONTENT_LENGTH, request.body.len().into());
    }
    let authority = request.authority.as_deref().unwrap_or(upstream);
    let authority = authority.parse().map_err(|_| CallError::Malformed)?;
    Ok(Box::new(Request { head, authority, body: Body::full(request.body), upgrade: None, exchange }))
}

async fn perform(upstream: &dyn Call, request: Box<Request>, bytes_max: usize) -> Answer {
    let failed = |error: crate::error::Error| CallError::Failed(error.kind().name().into());
    let mut response = upstream.call(request).await.map_err(failed)?;
    let fields = all(&response.head.headers);
    let mut left =
        fields.iter().map(|field| field.name.len() + field.value.len()).try_fold(bytes_max, usize::checked_sub);
    let mut body = Vec::new();
    while let Some(frame) = response.body.frame().await {
        let Ok(data) = frame.map_err(failed)?.into_data() else { continue };
        left = left.and_then(|left| left.checked_sub(data.len()));
        if left.is_none() {
            break;
        }
        body.extend_from_slice(&data);
    }
    left.ok_or(CallError::TooLarge)?;
    Ok(CallResponse { status: response.head.status.as_u16(), fields, body })
}
