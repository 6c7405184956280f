//! How many exchanges may be under way at a time: in all, or for each value of a key. Who comes when as many as may be are
//! there waits in a bounded queue, no longer than a deadline. Slots belong to the step's name and outlive its definition,
//! so a changed limit holds for who is there already. A tunnel keeps its slot until it is closed.

mod hold;

use std::{borrow::Cow, cell::RefCell, ops::ControlFlow, rc::Rc, sync::Arc, time::Duration};

use http::{HeaderName, HeaderValue, StatusCode, header};

use super::{Filter, Visit, Wait, own::PerWorker};
use crate::{
    config::spec::{self, ConcurrencyKey},
    error::{Error, Kind},
    exchange::{Exchange, Request, Response, Timers},
    state::{Bounds, Entry, Slot, Slots},
    telemetry::{GateOutcome, GateSeries},
};

/// The step.
pub(super) struct Concurrency {
    gate: PerWorker<Arc<Gate>, Box<dyn Fn() -> Arc<Gate> + Send + Sync>>,
    looks_at_fields: bool,
    does: String,
}

impl Concurrency {
    /// A step that bounds so; `slots` are those of its name.
    pub(super) fn new(spec: &spec::Concurrency, slots: Arc<Slots>, series: Arc<GateSeries>) -> Self {
        let per = match &spec.key {
            ConcurrencyKey::All => "in all".into(),
            ConcurrencyKey::Route => "a route".into(),
            ConcurrencyKey::ClientIp => "a client".into(),
            ConcurrencyKey::Header(name) => format!("a value of {name}"),
        };
        let does = format!("at most {} exchanges at a time {per}, {} waiting", spec.exchanges_max, spec.queue_max);
        let looks_at_fields = matches!(spec.key, ConcurrencyKey::Header(_));
        let spec = spec.clone();
        let make = move || Arc::new(Gate::new(spec.clone(), (Arc::clone(&slots), Arc::clone(&series))));
        Self { gate: PerWorker::new(Box::new(make)), looks_at_fields, does }
    }
}

impl Filter for Concurrency {
    fn begin(&self, exchange: &Rc<Exchange>) -> Rc<dyn Visit> {
        let gate = Arc::clone(self.gate.of(exchange));
        Rc::new(Passing { gate, exchange: Rc::clone(exchange), slot: RefCell::default() })
    }

    fn takes_told(&self) -> bool {
        !self.looks_at_fields
    }

    fn describe(&self) -> String {
        self.does.clone()
    }
}

/// The step, on one worker.
struct Gate {
    slots: Arc<Slots>,
    series: Arc<GateSeries>,
    key: ConcurrencyKey,
    bounds: Bounds,
    timeout: Duration,
    status: StatusCode,
    retry_after: HeaderValue,
}

impl Gate {
    fn new(spec: spec::Concurrency, (slots, series): (Arc<Slots>, Arc<GateSeries>)) -> Self {
        // In whole seconds, and never 0: that would call for the next one at once.
        let seconds = spec.retry_after.as_millis().div_ceil(1000).max(1);
        Self {
            slots,
            series,
            key: spec.key,
            bounds: Bounds { under_way_max: spec.exchanges_max, waiting_max: spec.queue_max },
            timeout: spec.queue_timeout,
            status: spec.status,
            retry_after: HeaderValue::from(u64::try_from(seconds).unwrap_or(u64::MAX)),
        }
    }

    fn key_of<'a>(&self, request: &'a Request) -> Cow<'a, str> {
        match &self.key {
            ConcurrencyKey::All => "".into(),
            ConcurrencyKey::Route => request.exchange.route().map_or("".into(), |route| route.id.to_string().into()),
            ConcurrencyKey::ClientIp => request.exchange.client.to_canonical().to_string().into(),
            ConcurrencyKey::Header(name) => field(request, name),
        }
    }
}

// Those that send none share the slots of the empty value. A long value counts by its beginning.
fn field<'a>(request: &'a Request, name: &HeaderName) -> Cow<'a, str> {
    let value = request.head.headers.get(name).map_or(&[][..], |value| value.as_bytes());
    String::from_utf8_lossy(&value[..value.len().min(KEY_BYTES_MAX)])
}

const KEY_BYTES_MAX: usize = 256;

/// Of one exchange.
struct Passing {
    gate: Arc<Gate>,
    exchange: Rc<Exchange>,
    slot: RefCell<Option<Slot>>,
}

impl Visit for Passing {
    fn request(self: Rc<Self>, request: Box<Request>) -> Wait<ControlFlow<Box<Response>, Box<Request>>> {
        let entry = self.gate.slots.enter(&self.gate.key_of(&request), self.gate.bounds);
        let waiting = match entry {
            Entry::Slot(slot) => {
                self.pass(slot, GateOutcome::Passed);
                return Wait::Ready(Ok(ControlFlow::Continue(request)));
            }
            Entry::Full => {
                return Wait::Ready(Ok(ControlFlow::Break(self.refuse(GateOutcome::Refused, FULL))));
            }
            Entry::Wait(waiting) => waiting,
        };
        Wait::on(async move {
            let timers = self.exchange.worker.locals.of::<Timers>();
            let until = std::time::Instant::now() + self.gate.timeout;
            Ok(match timers.within(until, waiting).await {
                Ok(slot) => {
                    self.pass(slot, GateOutcome::Waited);
                    ControlFlow::Continue(request)
                }
                Err(_) => ControlFlow::Break(self.refuse(GateOutcome::Late, LATE)),
            })
        })
    }

    fn sees_response(&self) -> bool {
        self.slot.borrow().is_some()
    }

    fn response(self: Rc<Self>, mut response: Response) -> Wait<Response> {
        match (self.slot.take(), response.tunnel.take()) {
            (Some(slot), Some(tunnel)) => response.tunnel = Some(hold::hold(tunnel, slot)),
            // Until the exchange is over, in whichever way.
            (Some(slot), None) => self.exchange.at_end(move |_, _| drop(slot)),
            (None, tunnel) => response.tunnel = tunnel,
        }
        Wait::Ready(Ok(response))
    }
}

impl Passing {
    fn pass(&self, slot: Slot, outcome: GateOutcome) {
        self.gate.series.finish(self.exchange.worker.index, outcome);
        *self.slot.borrow_mut() = Some(slot);
    }

    fn refuse(&self, outcome: GateOutcome, why: &'static str) -> Box<Response> {
        self.gate.series.finish(self.exchange.worker.index, outcome);
        self.exchange.record.fail(&Error::new(Kind::Overloaded, why));
        let mut response = Response::text(self.gate.status, Kind::Overloaded.client_text());
        response.head.headers.insert(header::RETRY_AFTER, self.gate.retry_after.clone());
        Box::new(response)
    }
}

const FULL: &str = "concurrency: as many as may be are under way, and wait";
const LATE: &str = "concurrency: no slot came free in time";

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use http::Method;

    use super::*;
    use crate::exchange::testing;

    fn step(key: ConcurrencyKey, queue_max: usize, slots: &Arc<Slots>) -> Concurrency {
        let spec = spec::Concurrency {
            exchanges_max: 1,
            key,
            queue_max,
            queue_timeout: Duration::from_millis(20),
            status: StatusCode::TOO_MANY_REQUESTS,
            retry_after: Duration::from_millis(1500),
        };
        Concurrency::new(&spec, Arc::clone(slots), Arc::default())
    }

    // The visit of a request that passes at once; it holds the slot.
    fn pass(step: &Concurrency, client: &str, tenant: &str) -> Option<Rc<dyn Visit>> {
        let mut request = testing::request(Method::GET, "/");
        Rc::get_mut(&mut request.exchange).unwrap().client = client.parse().unwrap();
        request.head.headers.insert("x-tenant", tenant.parse().unwrap());
        let visit = step.begin(&request.exchange);
        let flow = Rc::clone(&visit).request(request).settle().now_or_never()?.ok()?;
        matches!(flow, ControlFlow::Continue(_)).then_some(visit)
    }

    #[test]
    fn who_shares_a_key_shares_slots() {
        let tenant = ConcurrencyKey::Header(HeaderName::from_static("x-tenant"));
        let cases = [
            (ConcurrencyKey::All, "10.0.0.2", "b", false),
            (ConcurrencyKey::Route, "10.0.0.2", "b", false),
            (ConcurrencyKey::ClientIp, "10.0.0.2", "a", true),
            (ConcurrencyKey::ClientIp, "::ffff:10.0.0.1", "b", false),
            (tenant.clone(), "10.0.0.1", "b", true),
            (tenant, "10.0.0.2", "a", false),
        ];
        for (key, client, tenant, passes) in cases {
            let step = step(key.clone(), 0, &Arc::default());
            let first = pass(&step, "10.0.0.1", "a").expect("the first one passes");
            assert_eq!(pass(&step, client, tenant).is_some(), passes, "{key:?} {client} {tenant}");
            drop(first);
            assert!(pass(&step, client, tenant).is_some(), "a visit that was given up holds no slot");
        }
    }

    #[test]
    fn a_slot_is_held_to_the_end_of_the_exchange() {
        let slots = Arc::default();
        let step = step(ConcurrencyKey::All, 0, &slots);
        let request = testing::request(Method::GET, "/");
        let exchange = Rc::clone(&request.exchange);
        let visit = step.begin(&exchange);
        assert!(Rc::clone(&visit).request(request).settle().now_or_never().is_some());
        let Wait::Ready(Ok(_)) = visit.response(Response::empty(StatusCode::OK)) else { panic!("it is there") };
        assert_eq!(slots.count(), (1, 0), "its body may still be on the way");
        let request = testing::request(Method::GET, "/");
        let refused = step.begin(&request.exchange).request(request).settle().now_or_never();
        let Some(Ok(ControlFlow::Break(response))) = refused else { panic!("it is refused") };
        assert_eq!(
            (response.head.status.as_u16(), &response.head.headers["retry-after"]),
            (429, &HeaderValue::from(2))
        );
        drop(exchange);
        assert_eq!(slots.count(), (0, 0));
    }
}
