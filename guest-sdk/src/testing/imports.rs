//! What a plugin imports, with the names and types that `wit-bindgen` makes of the WIT, over a test host. The rest of the
//! crate cannot tell one from the other.

pub(crate) use super::passing::imports as body;

pub(crate) mod clock {
    //! Clocks that stand still unless they are moved.

    use std::time::Duration;

    use crate::testing::scope::here;

    pub(crate) fn monotonic_ns() -> u64 {
        nanoseconds(here().state.monotonic.get())
    }

    pub(crate) fn wall_ns() -> u64 {
        nanoseconds(here().state.wall.get())
    }

    pub(crate) fn sleep(duration_ns: u64) {
        here().state.advance(Duration::from_nanos(duration_ns));
    }

    fn nanoseconds(duration: Duration) -> u64 {
        u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
    }
}

pub(crate) mod random {
    //! Random numbers that are the same in every run.

    use crate::testing::scope::here;

    const RANDOM_BYTES_MAX: u32 = 4096;

    pub(crate) fn bytes(count: u32) -> Vec<u8> {
        assert!(
            count <= RANDOM_BYTES_MAX,
            "{count} random bytes at a time: a guest would trap, {RANDOM_BYTES_MAX} at most"
        );
        let numbers = std::iter::repeat_with(number).flat_map(u64::to_le_bytes);
        numbers.take(count as usize).collect()
    }

    pub(crate) fn number() -> u64 {
        here().state.number()
    }
}

pub(crate) mod log {
    //! A log that the test reads.

    pub(crate) use crate::bindings::tidegate::plugin::log::Level;
    use crate::{log, testing::scope::here};

    pub(crate) fn write(level: Level, message: &str) {
        let level = match level {
            Level::Trace => log::Level::Trace,
            Level::Debug => log::Level::Debug,
            Level::Info => log::Level::Info,
            Level::Warn => log::Level::Warn,
            Level::Error => log::Level::Error,
        };
        here().state.log(level, message);
    }
}

pub(crate) mod metrics {
    //! Metrics that the test reads.

    pub(crate) use crate::bindings::tidegate::plugin::metrics::Kind;
    use crate::testing::{scope::here, state::MetricKind};

    pub(crate) fn define(kind: Kind, name: &str) -> Option<u32> {
        let kind = match kind {
            Kind::Counter => MetricKind::Counter,
            Kind::Gauge => MetricKind::Gauge,
            Kind::Histogram => MetricKind::Histogram,
        };
        let here = here();
        here.state.define(&here.name, kind, name)
    }

    pub(crate) fn update(handle: u32, value: i64) {
        let here = here();
        // While a plugin is made, the gateway has no worker to count for.
        if here.visit.is_some() {
            here.state.update(handle, value);
        }
    }
}

pub(crate) mod kv {
    //! The key-value space of the middleware.

    use std::time::Duration;

    pub(crate) use crate::bindings::tidegate::plugin::kv::{Entry, KvError};
    use crate::{
        kv::Error,
        testing::{scope::here, space::Space},
    };

    pub(crate) fn get(key: &str) -> Option<Entry> {
        space(|space, now| space.get(key, now)).map(|(value, version)| Entry { value, version })
    }

    pub(crate) fn set(key: &str, value: &[u8], ttl_ms: Option<u64>) -> Result<(), KvError> {
        space(|space, now| space.set(key, value, ttl(ttl_ms), now)).map(drop).map_err(refused)
    }

    pub(crate) fn delete(key: &str) -> bool {
        space(|space, now| space.delete(key, now))
    }

    pub(crate) fn compare_and_set(key: &str, version: u64, value: &[u8], ttl_ms: Option<u64>) -> Result<u64, KvError> {
        space(|space, now| space.compare_and_set((key, version), value, ttl(ttl_ms), now)).map_err(refused)
    }

    pub(crate) fn add(key: &str, by: i64, ttl_ms: Option<u64>) -> Result<i64, KvError> {
        space(|space, now| space.add(key, by, ttl(ttl_ms), now)).map_err(refused)
    }

    fn space<R>(f: impl FnOnce(&mut Space, Duration) -> R) -> R {
        let here = here();
        here.state.space(&here.name, f)
    }

    fn ttl(ttl_ms: Option<u64>) -> Option<Duration> {
        ttl_ms.map(Duration::from_millis)
    }

    const fn refused(error: Error) -> KvError {
        match error {
            Error::Full => KvError::Full,
            Error::Conflict => KvError::Conflict,
            Error::TooLarge => KvError::TooLarge,
        }
    }
}

pub(crate) mod exchange {
    //! Facts of the exchange under way, its attributes, and what is kept in it.

    use crate::{
        host::types::Refusal,
        testing::scope::{here, visit},
    };

    const ATTRIBUTES_MAX: usize = 64;
    const ATTRIBUTE_BYTES_MAX: usize = 4 << 10;

    pub(crate) fn client_address() -> String {
        visit().facts.client.clone()
    }

    pub(crate) fn secure() -> bool {
        visit().facts.secure
    }

    pub(crate) fn protocol() -> String {
        visit().facts.protocol.clone()
    }

    pub(crate) fn listener() -> String {
        visit().facts.listener.clone()
    }

    pub(crate) fn route() -> Option<String> {
        visit().facts.route.clone()
    }

    pub(crate) fn generation() -> u64 {
        visit();
        1
    }

    pub(crate) fn trace_id() -> String {
        visit();
        "4bf92f3577b34da6a3ce929d0e0e4736".to_owned()
    }

    pub(crate) fn attribute(name: &str) -> Option<String> {
        let visit = visit();
        let attributes = visit.attributes.borrow();
        attributes.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
    }

    pub(crate) fn set_attribute(name: &str, value: &str) -> Result<(), Refusal> {
        if name.is_empty() || name.chars().any(char::is_control) {
            return Err(Refusal::Malformed);
        }
        if name.len() > ATTRIBUTE_BYTES_MAX || value.len() > ATTRIBUTE_BYTES_MAX {
            return Err(Refusal::TooLarge);
        }
        let visit = visit();
        let name = format!("{}.{name}", here().name);
        let mut attributes = visit.attributes.borrow_mut();
        match attributes.iter().position(|(known, _)| *known == name) {
            Some(position) => value.clone_into(&mut attributes[position].1),
            None if attributes.len() >= ATTRIBUTES_MAX => return Err(Refusal::TooLarge),
            None => attributes.push((name, value.to_owned())),
        }
        Ok(())
    }

    pub(crate) fn keep(state: &[u8]) -> Result<(), Refusal> {
        if state.len() > here().state.limits.get().state_bytes_max {
            return Err(Refusal::TooLarge);
        }
        visit().kept.replace(Some(state.to_vec()));
        Ok(())
    }

    pub(crate) fn kept() -> Option<Vec<u8>> {
        visit().kept.borrow().clone()
    }
}

pub(crate) mod upstream {
    //! Upstreams that the test plays.

    use std::time::Duration;

    pub(crate) use crate::bindings::tidegate::plugin::upstream::{CallError, CallRequest, CallResponse};
    use crate::{
        host::types::Field,
        testing::{
            heads,
            scope::{here, visit},
            state::Called,
        },
        upstream::Error,
    };

    pub(crate) fn call(upstream: &str, request: &CallRequest) -> Result<CallResponse, CallError> {
        let (here, visit) = (here(), visit());
        let limits = here.state.limits.get();
        if !here.state.grants(upstream) {
            return Err(CallError::NotGranted);
        }
        if visit.calls.get() >= limits.calls_max {
            return Err(CallError::TooMany);
        }
        visit.calls.set(visit.calls.get() + 1);
        let fields = request.fields.iter().map(|field| (field.name.clone(), field.value.clone())).collect();
        heads::check_call(&request.method, &request.target, &fields).map_err(|_| CallError::Malformed)?;
        let began = here.state.monotonic.get();
        let answer = here.state.call(Called {
            upstream: upstream.to_owned(),
            method: request.method.clone(),
            target: request.target.clone(),
            authority: request.authority.clone().unwrap_or_else(|| upstream.to_owned()),
            fields,
            body: request.body.clone(),
        });
        // A script takes as long as it moves the clock.
        let took = here.state.monotonic.get() - began;
        if request.timeout_ms.is_some_and(|timeout_ms| took > Duration::from_millis(timeout_ms)) {
            return Err(CallError::Failed("upstream_timeout".to_owned()));
        }
        let answer = answer.map_err(failed)?;
        let in_fields: usize = answer.fields.iter().map(|(name, value)| name.len() + value.len()).sum();
        if in_fields + answer.body.len() > limits.call_bytes_max {
            return Err(CallError::TooLarge);
        }
        let field = |(name, value): (String, Vec<u8>)| Field { name: name.to_ascii_lowercase(), value };
        let fields = answer.fields.into_iter().map(field).collect();
        Ok(CallResponse { status: answer.status, fields, body: answer.body })
    }

    fn failed(error: Error) -> CallError {
        match error {
            Error::NotGranted => CallError::NotGranted,
            Error::TooMany => CallError::TooMany,
            Error::Malformed => CallError::Malformed,
            Error::TooLarge => CallError::TooLarge,
            Error::Failed(kind) => CallError::Failed(kind),
        }
    }
}

pub(crate) mod http {
    //! The heads of the exchange under way.

    use crate::{
        host::types::{Field, Refusal},
        testing::{heads, scope::visit},
    };

    /// Stands for the request of the exchange under way.
    #[derive(Debug)]
    pub(crate) struct Request;

    /// Stands for its response.
    #[derive(Debug)]
    pub(crate) struct Response;

    macro_rules! fields_of {
        ($head:ident, $wish:ident) => {
            pub(crate) fn header(&self, name: &str) -> Option<Vec<u8>> {
                heads::first(&visit().$head.borrow().fields, name)
            }

            pub(crate) fn header_values(&self, name: &str) -> Vec<Vec<u8>> {
                heads::values(&visit().$head.borrow().fields, name)
            }

            pub(crate) fn headers(&self) -> Vec<Field> {
                let all = heads::all(&visit().$head.borrow().fields);
                all.into_iter().map(|(name, value)| Field { name, value }).collect()
            }

            pub(crate) fn set_header(&self, name: &str, value: &[u8]) -> Result<(), Refusal> {
                heads::set(&mut visit().$head.borrow_mut().fields, name, value)
            }

            pub(crate) fn append_header(&self, name: &str, value: &[u8]) -> Result<(), Refusal> {
                heads::append(&mut visit().$head.borrow_mut().fields, name, value)
            }

            pub(crate) fn remove_header(&self, name: &str) -> Result<(), Refusal> {
                heads::remove(&mut visit().$head.borrow_mut().fields, name)
            }

            pub(crate) fn skip_body(&self) {
                let visit = visit();
                visit.$wish.set(heads::BodyWish { skip: true, ..visit.$wish.get() });
            }

            pub(crate) fn pass_large_body(&self) {
                let visit = visit();
                visit.$wish.set(heads::BodyWish { pass_large: true, ..visit.$wish.get() });
            }
        };
    }

    impl Request {
        pub(crate) fn method(&self) -> String {
            visit().request.borrow().method.to_string()
        }

        pub(crate) fn set_method(&self, method: &str) -> Result<(), Refusal> {
            visit().request.borrow_mut().set_method(method)
        }

        pub(crate) fn authority(&self) -> String {
            visit().request.borrow().authority.to_string()
        }

        pub(crate) fn set_authority(&self, authority: &str) -> Result<(), Refusal> {
            visit().request.borrow_mut().set_authority(authority)
        }

        pub(crate) fn path(&self) -> String {
            visit().request.borrow().target.path().to_owned()
        }

        pub(crate) fn set_path(&self, path: &str) -> Result<(), Refusal> {
            visit().request.borrow_mut().set_path(path)
        }

        pub(crate) fn query(&self) -> Option<String> {
            visit().request.borrow().target.query().map(str::to_owned)
        }

        pub(crate) fn set_query(&self, query: Option<&str>) -> Result<(), Refusal> {
            visit().request.borrow_mut().set_query(query)
        }

        pub(crate) fn set_response_header(&self, name: &str, value: &[u8]) -> Result<(), Refusal> {
            visit().ahead.borrow_mut().add(heads::Way::Set, name, value)
        }

        pub(crate) fn append_response_header(&self, name: &str, value: &[u8]) -> Result<(), Refusal> {
            visit().ahead.borrow_mut().add(heads::Way::Append, name, value)
        }

        fields_of!(request, request_body);
    }

    impl Response {
        pub(crate) fn status(&self) -> u16 {
            visit().response.borrow().status
        }

        pub(crate) fn set_status(&self, status: u16) -> Result<(), Refusal> {
            if !(200..=599).contains(&status) {
                return Err(Refusal::Malformed);
            }
            visit().response.borrow_mut().status = status;
            Ok(())
        }

        fields_of!(response, response_body);
    }
}
