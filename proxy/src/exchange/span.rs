//! The spans of one exchange that is traced: its own, one a plugin call, one an upstream try. Kept on its worker until
//! it is over, then handed on at once. What is not traced has none of this, and pays for a look at an `Option`.
//! Knows neither who takes them nor what their attributes mean.

use std::{
    cell::{Cell, RefCell},
    fmt,
    rc::Rc,
    sync::Arc,
    time::Instant,
};

use super::trace::{Ids, TraceContext};

/// What is left out of an exchange with more spans than this is counted.
const SPANS_MAX: usize = 128;

/// In a request's extensions: the span that a call is part of, where that is not the exchange's own.
#[derive(Clone, Copy, Debug)]
pub struct ParentSpan(pub u64);

/// Takes spans that are over.
pub trait SpanSink: Send + Sync {
    /// Takes them, from any worker. Never waits.
    fn take(&self, spans: TracedSpans);
}

/// Spans of one trace.
#[derive(Debug)]
pub struct TracedSpans {
    /// Of all of them.
    pub trace: TraceContext,
    /// `tracestate`, as the client sent it.
    pub state: Arc<str>,
    /// The spans; that of the exchange is the last, if it is among them.
    pub spans: Vec<Span>,
    /// Spans that their exchange had no room for.
    pub left_out: u32,
}

/// One span.
#[derive(Debug)]
pub struct Span {
    /// Its id.
    pub id: u64,
    /// The span that it is part of, if any.
    pub parent: Option<u64>,
    /// Which side of a call it is.
    pub kind: SpanKind,
    /// Of low cardinality.
    pub name: String,
    /// When it began.
    pub began: Instant,
    /// When it ended.
    pub ended: Instant,
    /// By name.
    pub attributes: Vec<(&'static str, SpanValue)>,
    /// What failed, if anything.
    pub failure: Option<SpanFailure>,
}

/// Which side of a call a span is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanKind {
    /// The exchange: the client calls us.
    Server,
    /// A try: we call an endpoint.
    Client,
    /// Neither: a plugin.
    Internal,
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq)]
pub enum SpanValue {
    /// Text that is known beforehand.
    Word(&'static str),
    /// Text that a configuration holds.
    Name(Arc<str>),
    /// Any other text.
    Text(String),
    /// A whole number.
    Number(i64),
}

/// Why a span counts as failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpanFailure {
    /// The kind (`error.type`).
    pub kind: String,
    /// What it was, in words, where there is more to say than the kind.
    pub detail: Option<String>,
}

/// The spans of one exchange.
pub struct Spans {
    trace: TraceContext,
    state: Arc<str>,
    ids: Rc<Ids>,
    sink: Arc<dyn SpanSink>,
    // `None` once they are handed on: what ends later goes by itself.
    over: RefCell<Option<Vec<Span>>>,
    begun: Cell<usize>,
    left_out: Cell<u32>,
}

/// A span that is not over. Dropped, it is; without a word of how it ended, it was broken off.
#[derive(Debug)]
pub struct OpenSpan {
    spans: Rc<Spans>,
    span: Option<Span>,
}

impl Spans {
    /// None yet; all of them go to `sink`.
    pub fn new(trace: TraceContext, state: Arc<str>, ids: Rc<Ids>, sink: Arc<dyn SpanSink>) -> Rc<Self> {
        let over = RefCell::new(Some(Vec::new()));
        Rc::new(Self { trace, state, ids, sink, over, begun: Cell::new(0), left_out: Cell::new(0) })
    }

    /// Begins a span below `parent`, or else below the exchange's own; `None` where the exchange has too many.
    pub fn begin(self: &Rc<Self>, kind: SpanKind, name: String, parent: Option<u64>) -> Option<OpenSpan> {
        if self.begun.get() >= SPANS_MAX {
            self.left_out.set(self.left_out.get() + 1);
            return None;
        }
        self.begun.set(self.begun.get() + 1);
        let now = Instant::now();
        let span = Span {
            id: self.ids.next(),
            parent: parent.or(Some(self.trace.span_id)),
            kind,
            name,
            began: now,
            ended: now,
            attributes: Vec::new(),
            failure: Some(SpanFailure { kind: "cancelled".to_owned(), detail: None }),
        };
        Some(OpenSpan { spans: Rc::clone(self), span: Some(span) })
    }

    /// Ends the exchange's own span, and hands all of them on.
    pub fn finish(&self, own: Span) {
        let Some(mut spans) = self.over.take() else { return };
        spans.push(own);
        self.hand_on(spans);
    }

    fn end(&self, span: Span) {
        match &mut *self.over.borrow_mut() {
            Some(over) => over.push(span),
            None => self.hand_on(vec![span]),
        }
    }

    fn hand_on(&self, spans: Vec<Span>) {
        let (trace, state) = (self.trace, Arc::clone(&self.state));
        self.sink.take(TracedSpans { trace, state, spans, left_out: self.left_out.take() });
    }
}

impl OpenSpan {
    /// Its id.
    pub fn id(&self) -> u64 {
        self.span.as_ref().map_or(0, |span| span.id)
    }

    /// The trace that it belongs to.
    pub fn trace(&self) -> &TraceContext {
        &self.spans.trace
    }

    /// Says something of it.
    pub fn set(&mut self, name: &'static str, value: impl Into<SpanValue>) {
        if let Some(span) = &mut self.span {
            span.attributes.push((name, value.into()));
        }
    }

    /// It ended well, or for this reason.
    pub fn settle(&mut self, failure: Option<SpanFailure>) {
        if let Some(span) = &mut self.span {
            span.failure = failure;
        }
    }
}

impl Drop for OpenSpan {
    fn drop(&mut self) {
        if let Some(mut span) = self.span.take() {
            span.ended = Instant::now();
            self.spans.end(span);
        }
    }
}

impl fmt::Debug for Spans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Spans({:032x}, {})", self.trace.trace_id, self.begun.get())
    }
}

impl From<&'static str> for SpanValue {
    fn from(word: &'static str) -> Self {
        Self::Word(word)
    }
}

impl From<Arc<str>> for SpanValue {
    fn from(name: Arc<str>) -> Self {
        Self::Name(name)
    }
}

impl From<String> for SpanValue {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for SpanValue {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use http::HeaderMap;

    use super::*;

    #[derive(Default)]
    struct Kept(Mutex<Vec<TracedSpans>>);

    impl SpanSink for Kept {
        fn take(&self, spans: TracedSpans) {
            self.0.lock().unwrap().push(spans);
        }
    }

    fn own(trace: &TraceContext) -> Span {
        let now = Instant::now();
        let (id, kind, name) = (trace.span_id, SpanKind::Server, "own".to_owned());
        Span { id, parent: None, kind, name, began: now, ended: now, attributes: Vec::new(), failure: None }
    }

    fn spans() -> (Rc<Spans>, Arc<Kept>, TraceContext) {
        let (ids, kept) = (Rc::<Ids>::default(), Arc::<Kept>::default());
        let trace = ids.continue_from(&HeaderMap::new());
        (Spans::new(trace, "".into(), ids, Arc::clone(&kept) as _), kept, trace)
    }

    #[test]
    fn all_go_at_once_and_what_ends_later_by_itself() {
        let (spans, kept, trace) = spans();
        let mut settled = spans.begin(SpanKind::Client, "try".into(), None).unwrap();
        settled.settle(None);
        let late = spans.begin(SpanKind::Client, "late".into(), Some(settled.id())).unwrap();
        let parent = settled.id();
        drop(settled);
        spans.finish(own(&trace));
        drop(late);
        let kept = kept.0.lock().unwrap();
        let seen: Vec<_> =
            kept.iter().map(|one| one.spans.iter().map(|span| &*span.name).collect::<Vec<_>>()).collect();
        assert_eq!(seen, [vec!["try", "own"], vec!["late"]]);
        assert_eq!((kept[0].spans[0].parent, kept[1].spans[0].parent), (Some(trace.span_id), Some(parent)));
        assert_eq!(kept[0].spans[0].failure, None);
        assert_eq!(kept[1].spans[0].failure.as_ref().unwrap().kind, "cancelled");
    }

    #[test]
    fn an_exchange_has_room_for_so_many_and_counts_the_others() {
        let (spans, kept, trace) = spans();
        for _ in 0..SPANS_MAX + 3 {
            drop(spans.begin(SpanKind::Internal, "chunk".into(), None));
        }
        spans.finish(own(&trace));
        let kept = kept.0.lock().unwrap();
        assert_eq!((kept[0].spans.len(), kept[0].left_out), (SPANS_MAX + 1, 3));
    }
}
