//! HTTP basic authentication (RFC 7617) against hashes of passwords. A hash takes long on purpose, so it is computed
//! away from the worker (`state::Offload`), and who was verified is remembered by a keyed digest until the list of users
//! changes. It takes as long to refuse a user that there is not as one with a wrong password.

mod guard;
mod password;

use std::{collections::HashMap, ops::ControlFlow, rc::Rc, sync::Arc};

use base64::{
    Engine as _,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use http::{HeaderMap, header};

use self::guard::Guard;
use super::{Filter, Visit, Wait, own::PerWorker};
use crate::{
    config::spec::{self, PasswordHash},
    exchange::{Exchange, Request, Response},
    state::Offload,
};

/// The step.
pub(super) struct BasicAuth {
    guard: PerWorker<Arc<Guard>, Box<dyn Fn() -> Arc<Guard> + Send + Sync>>,
    does: String,
}

type Users = HashMap<String, PasswordHash>;

impl BasicAuth {
    /// A step that lets these users pass; hashes are computed by `offload`.
    pub(super) fn new(spec: &spec::BasicAuth, offload: &Arc<Offload>) -> Self {
        let does = format!("basic authentication of {} users for {:?}", spec.users.len(), spec.realm);
        let users = spec.users.iter().map(|user| (user.name.clone(), user.hash.clone()));
        let users: Arc<Users> = Arc::new(users.collect());
        let (spec, offload) = (spec::BasicAuth { users: Vec::new(), ..spec.clone() }, Arc::clone(offload));
        let make = move || Arc::new(Guard::new(&spec, Arc::clone(&users), Arc::clone(&offload)));
        Self { guard: PerWorker::new(Box::new(make)), does }
    }
}

impl Filter for BasicAuth {
    fn begin(&self, exchange: &Rc<Exchange>) -> Rc<dyn Visit> {
        Rc::new(Asking(Arc::clone(self.guard.of(exchange))))
    }

    fn describe(&self) -> String {
        self.does.clone()
    }
}

/// Of one exchange.
struct Asking(Arc<Guard>);

impl Visit for Asking {
    fn request(self: Rc<Self>, request: Box<Request>) -> Wait<ControlFlow<Box<Response>, Box<Request>>> {
        let Some(sent) = Sent::of(&request.head.headers) else {
            return Wait::Ready(Ok(ControlFlow::Break(self.0.refuse(&request.exchange, "no credentials"))));
        };
        let key = self.0.key(&sent);
        if self.0.knows(&key) {
            return Wait::Ready(self.0.admit(sent, request).map(ControlFlow::Continue));
        }
        let guard = Arc::clone(&self.0);
        Wait::on(async move {
            Ok(if guard.verify(&sent, key).await? {
                ControlFlow::Continue(guard.admit(sent, request)?)
            } else {
                let why = format!("wrong credentials of user {:?}", sent.user);
                ControlFlow::Break(guard.refuse(&request.exchange, &why))
            })
        })
    }

    fn sees_response(&self) -> bool {
        false
    }

    fn response(self: Rc<Self>, response: Response) -> Wait<Response> {
        Wait::Ready(Ok(response))
    }
}

/// A name and a password.
struct Sent {
    user: String,
    password: Vec<u8>,
}

impl Sent {
    fn of(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(header::AUTHORIZATION).iter();
        let value = values.next().filter(|value| values.next().is_none() && value.len() <= SENT_BYTES_MAX)?;
        let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
        let token = scheme.eq_ignore_ascii_case("basic").then(|| token.trim_matches(' '))?;
        let mut user = BASE64.decode(token).ok()?;
        let colon = user.iter().position(|byte| *byte == b':')?;
        let password = user.split_off(colon + 1);
        user.truncate(colon);
        Some(Self { user: String::from_utf8(user).ok()?, password })
    }
}

// More is nobody's password.
const SENT_BYTES_MAX: usize = 4096;
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

#[cfg(test)]
mod tests;
