//! One request over HTTP/3 and its response, in a task of its own that ends with the client's wish for it. Knows frames,
//! and nothing of what makes a response.

use std::{
    cell::Cell,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    rc::Rc,
    task::Poll,
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use h3::{
    error::{Code, StreamError},
    server::{RequestResolver, RequestStream},
};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use http_body::Body as _;

use super::{
    Guard,
    body::Body,
    quic::{self, Accepted, Ended, Through},
};
use crate::{
    error::Kind,
    server::{exchange, inbound::Arriving, outbound::Outbound, session::Session},
};

type Stream = RequestStream<quic::SendStream, Bytes>;
type Head = (http::Request<()>, RequestStream<quic::BidiStream, Bytes>);

/// Serves the request that `resolver` reads from the stream that was `accepted`, until the client is through with it.
pub(super) async fn serve(
    session: Rc<Session>,
    resolver: RequestResolver<quic::Connection, Bytes>,
    Accepted { mut through, empty }: Accepted,
    _guard: Guard,
) {
    let Some((request, stream)) = head(&session, resolver, &mut through).await else { return };
    let (stream, incoming) = stream.split();
    let mut sending = Sending { stream, over: false };
    let (head, ()) = request.into_parts();
    let expects = head.headers.get(header::EXPECT).is_some_and(|it| it.as_bytes().eq_ignore_ascii_case(CONTINUE));
    let wanted = expects.then(Rc::<Cell<bool>>::default);
    let mut body = Body::new(incoming, &head.headers, empty, wanted.clone());
    let early = body.early();
    if !expects {
        begin(&session, &mut body, &head.method).await;
    }
    let request = http::Request::from_parts(head, Arriving::Http3(Box::new(body)));
    let mut exchange = pin!(exchange::serve(Rc::clone(&session), request));
    let response = loop {
        let step = poll_fn(|cx| match exchange.as_mut().poll(cx) {
            Poll::Ready(Ok(response)) => Poll::Ready(Step::Response(response)),
            Poll::Pending if wanted.as_ref().is_some_and(|wanted| wanted.take()) => Poll::Ready(Step::Interim(go_on())),
            Poll::Pending => match early.pop() {
                Some(head) => Poll::Ready(Step::Interim(Response::from_parts(head, ()))),
                None => Pin::new(&mut through).poll(cx).map(|_| Step::Gone),
            },
        });
        match step.await {
            Step::Response(response) => break response,
            Step::Interim(head) => {
                if write(&session, sending.stream.send_response(head), &mut through, None).await.is_none() {
                    return;
                }
            }
            // Dropped, the exchange is over.
            Step::Gone => return,
        }
    };
    while let Some(head) = early.pop() {
        let head = Response::from_parts(head, ());
        if write(&session, sending.stream.send_response(head), &mut through, None).await.is_none() {
            return;
        }
    }
    // What is not taken yet would be lost with the connection, and with the process: both wait for it.
    let held = response.body().exchange();
    if respond(&session, response, &mut sending, &mut through).await.is_some() {
        let idle = session.limits(|limits| limits.write_idle_timeout);
        let _ended = session.timers.within(Instant::now() + idle, &mut through).await;
    }
    drop(held);
}

enum Step {
    Response(Response<Outbound>),
    // One before it (RFC 9110 section 15.2).
    Interim(Response<()>),
    Gone,
}

// The head of the request; none where it does not come, or is no request: what the client is told then, the codec says.
async fn head(
    session: &Session,
    resolver: RequestResolver<quic::Connection, Bytes>,
    through: &mut Through,
) -> Option<Head> {
    let until = Instant::now() + session.limits(|limits| limits.head_timeout);
    let mut resolve = pin!(session.timers.within(until, resolver.resolve_request()));
    let read = poll_fn(|cx| match resolve.as_mut().poll(cx) {
        Poll::Ready(read) => Poll::Ready(Some(read)),
        Poll::Pending => Pin::new(&mut *through).poll(cx).map(|_| None),
    });
    let kind = match read.await? {
        Ok(Ok(head)) if is_complete(&head.0) => return Some(head),
        Ok(Ok((_, mut stream))) => {
            stream.stop_stream(Code::H3_MESSAGE_ERROR);
            stream.stop_sending(Code::H3_MESSAGE_ERROR);
            Kind::MalformedRequest
        }
        Ok(Err(StreamError::HeaderTooBig { .. })) => Kind::HeadTooLarge,
        Ok(Err(
            StreamError::StreamError { .. } | StreamError::RemoteTerminate { code: Code::H3_MESSAGE_ERROR, .. },
        )) => Kind::MalformedRequest,
        Ok(Err(_)) => return None,
        Err(_elapsed) => Kind::RequestTimeout,
    };
    session.door.hall.series.refused(session.door.worker.index, kind);
    None
}

// RFC 9114 section 4.3.1; that one of both is there alone, or no method, the codec refuses.
fn is_complete(request: &http::Request<()>) -> bool {
    request.method() == Method::CONNECT || request.uri().scheme().is_some()
}

// Waits until it is known whether there is a body: where none is likely, for as long as packets of one message may be
// apart; else no longer than what is there already takes.
async fn begin(session: &Session, body: &mut Body, method: &Method) {
    let bodiless = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::DELETE);
    let until = Instant::now() + if bodiless && body.size_hint().exact().is_none() { APART } else { Duration::ZERO };
    let mut waits = pin!(session.timers.within(until, poll_fn(|cx| body.poll_begin(cx))));
    poll_fn(|cx| {
        let polled = waits.as_mut().poll(cx);
        if polled.is_pending() && until > Instant::now() { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
}

// A response that is not finished is broken off, so that it never looks complete.
struct Sending {
    stream: Stream,
    over: bool,
}

impl Drop for Sending {
    fn drop(&mut self) {
        if !self.over {
            self.stream.stop_stream(Code::H3_INTERNAL_ERROR);
        }
    }
}

// Sends a response to its end; none where it broke off.
async fn respond(
    session: &Session,
    response: Response<Outbound>,
    sending: &mut Sending,
    through: &mut Through,
) -> Option<()> {
    let (mut head, mut body) = response.into_parts();
    // RFC 9110 section 6.6.1; of the others hyper says it.
    head.headers.entry(header::DATE).or_insert_with(now);
    write(session, sending.stream.send_response(Response::from_parts(head, ())), through, Some(&mut body)).await?;
    while !body.is_end_stream() {
        let next = poll_fn(|cx| match Pin::new(&mut body).poll_frame(cx) {
            Poll::Ready(frame) => Poll::Ready(Some(frame)),
            Poll::Pending => Pin::new(&mut *through).poll(cx).map(|_| None),
        });
        let Some(frame) = next.await? else { break };
        match frame.ok()?.into_data() {
            Ok(data) => {
                for piece in pieces(data) {
                    write(session, sending.stream.send_data(piece), through, Some(&mut body)).await?;
                }
            }
            Err(frame) => {
                let trailers = frame.into_trailers().unwrap_or_else(|_| HeaderMap::new());
                write(session, sending.stream.send_trailers(trailers), through, Some(&mut body)).await?;
            }
        }
    }
    // The exchange is over when all of it was handed over.
    drop(body);
    write(session, sending.stream.finish(), through, None).await?;
    sending.over = true;
    Some(())
}

// A write, unless the client takes nothing for too long, wants no more, or the time of the exchange is over.
async fn write(
    session: &Session,
    write: impl Future<Output = Result<(), StreamError>>,
    through: &mut Through,
    mut body: Option<&mut Outbound>,
) -> Option<()> {
    let until = Instant::now() + session.limits(|limits| limits.write_idle_timeout);
    let mut write = pin!(session.timers.within(until, write));
    poll_fn(|cx| {
        if let Poll::Ready(written) = write.as_mut().poll(cx) {
            return Poll::Ready(written.ok().and_then(Result::ok));
        }
        if body.as_mut().is_some_and(|body| body.poll_overdue(cx).is_ready()) {
            return Poll::Ready(None);
        }
        match Pin::new(&mut *through).poll(cx) {
            Poll::Ready(Ended::Gone) => Poll::Ready(None),
            Poll::Ready(Ended::Taken) | Poll::Pending => Poll::Pending,
        }
    })
    .await
}

// Small enough that a client that takes something takes one of them in time.
fn pieces(mut data: Bytes) -> impl Iterator<Item = Bytes> {
    std::iter::from_fn(move || {
        let piece = data.split_to(data.len().min(PIECE_BYTES_MAX));
        (!piece.is_empty()).then_some(piece)
    })
}

fn now() -> HeaderValue {
    HeaderValue::try_from(httpdate::fmt_http_date(SystemTime::now())).expect("a date is made of visible ASCII")
}

// For a client that waits to be told that its body is wanted.
fn go_on() -> Response<()> {
    let mut interim = Response::new(());
    *interim.status_mut() = StatusCode::CONTINUE;
    interim
}

const CONTINUE: &[u8] = b"100-continue";
const PIECE_BYTES_MAX: usize = 64 * 1024;
// The end of a stream mostly comes with its head, or right behind it.
const APART: Duration = Duration::from_millis(20);
