//! Whole messages in and out.

use wasip2::{
    http::{
        outgoing_handler,
        types::{
            Fields, IncomingBody, IncomingRequest, IncomingResponse, Method, OutgoingBody, OutgoingRequest,
            OutgoingResponse, ResponseOutparam, Scheme, Trailers,
        },
    },
    io::streams::{InputStream, StreamError},
};

/// A request or a response, with all of its body.
pub(crate) struct Message {
    pub(crate) fields: Fields,
    pub(crate) body: Vec<u8>,
    trailers: Option<Trailers>,
    method: Method,
    authority: String,
    pub(crate) target: String,
    status: u16,
}

impl Message {
    /// An answer of one's own.
    pub(crate) fn answer(status: u16, body: &[u8]) -> Self {
        Self { status, body: body.to_vec(), ..Self::empty() }
    }

    fn empty() -> Self {
        let fields = Fields::new();
        let (authority, target) = (String::new(), String::new());
        Self { fields, body: Vec::new(), trailers: None, method: Method::Get, authority, target, status: 200 }
    }

    /// Puts another body in the place of its own.
    pub(crate) fn change(&mut self, body: &[u8]) {
        self.fields.delete("content-length").expect("a field");
        self.body = body.to_vec();
    }

    /// Adds to its body.
    pub(crate) fn append(&mut self, more: &[u8]) {
        self.fields.delete("content-length").expect("a field");
        self.body.extend_from_slice(more);
    }

    /// Adds to its trailers.
    pub(crate) fn add_trailer(&mut self, name: &str, value: &[u8]) {
        let trailers = self.trailers.get_or_insert_with(Fields::new);
        trailers.append(name, value).expect("a field");
    }

    fn read(&mut self, body: IncomingBody) {
        let stream = body.stream().expect("the first time");
        while let Some(chunk) = read(&stream) {
            self.body.extend(chunk);
        }
        drop(stream);
        let future = IncomingBody::finish(body);
        future.subscribe().block();
        let trailers = future.get().expect("it is ready").expect("the first time").expect("the body is whole");
        self.trailers = trailers.map(|trailers| copy(&trailers));
    }

    fn write(self, body: OutgoingBody) {
        let stream = body.write().expect("the first time");
        for chunk in self.body.chunks(4096) {
            // Nobody reads what is sent in answer to HEAD.
            if stream.blocking_write_and_flush(chunk).is_err() {
                break;
            }
        }
        drop(stream);
        drop(OutgoingBody::finish(body, self.trailers));
    }
}

fn read(stream: &InputStream) -> Option<Vec<u8>> {
    match stream.blocking_read(64 << 10) {
        Ok(chunk) => Some(chunk),
        Err(StreamError::Closed) => None,
        Err(StreamError::LastOperationFailed(error)) => panic!("reading failed: {}", error.to_debug_string()),
    }
}

fn copy(fields: &Fields) -> Fields {
    Fields::from_list(&fields.entries()).expect("they were fields before")
}

/// All of a request.
pub(crate) fn received(request: &IncomingRequest) -> Message {
    let mut message = Message {
        fields: copy(&request.headers()),
        method: request.method(),
        authority: request.authority().unwrap_or_default(),
        target: request.path_with_query().unwrap_or_default(),
        ..Message::empty()
    };
    message.read(request.consume().expect("the first time"));
    message
}

/// Sends a request on along the chain, or to an upstream, and reads all that comes back.
pub(crate) fn next(message: Message) -> Message {
    let outgoing = OutgoingRequest::new(copy(&message.fields));
    outgoing.set_method(&message.method).expect("it was a method before");
    outgoing.set_scheme(Some(&Scheme::Http)).expect("a scheme");
    outgoing.set_authority(Some(&message.authority)).expect("an authority");
    outgoing.set_path_with_query(Some(&message.target)).expect("a path");
    let body = outgoing.body().expect("the first time");
    let sent = outgoing_handler::handle(outgoing, None).expect("it is granted");
    message.write(body);
    sent.subscribe().block();
    back(&sent.get().expect("it is ready").expect("the first time").expect("it is answered"))
}

/// Asks an upstream for something.
pub(crate) fn called(upstream: &str, target: &str, method: &Method) -> Message {
    let (authority, target, method) = (upstream.to_owned(), target.to_owned(), method.clone());
    next(Message { authority, target, method, ..Message::empty() })
}

fn back(response: &IncomingResponse) -> Message {
    let mut message = Message { fields: copy(&response.headers()), status: response.status(), ..Message::empty() };
    message.read(response.consume().expect("the first time"));
    message
}

/// Answers.
pub(crate) fn answer(out: ResponseOutparam, message: Message) {
    let response = OutgoingResponse::new(copy(&message.fields));
    response.set_status_code(message.status).expect("a status");
    let body = response.body().expect("the first time");
    ResponseOutparam::set(out, Ok(response));
    message.write(body);
}

/// A method as it is written.
pub(crate) fn method_name(method: &Method) -> String {
    match method {
        Method::Get => "GET".into(),
        Method::Put => "PUT".into(),
        Method::Post => "POST".into(),
        Method::Other(other) => other.clone(),
        other => format!("{other:?}"),
    }
}
