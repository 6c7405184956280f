//! The token that etcd gives for name and password: asked for when it is needed, kept until etcd does not take it any
//! more. Knows one call.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use tonic::{
    Request,
    metadata::{Ascii, MetadataValue},
};

use super::{
    Error, Kind,
    link::Link,
    options::{Options, Password, User},
    wire::{self, auth_client::AuthClient},
};

/// The name of the metadata that carries it.
pub(super) const FIELD: &str = "token";

/// A token as it was when it was handed out; none where etcd wants none.
#[derive(Clone, Debug, Default)]
pub(super) struct Token {
    value: Option<MetadataValue<Ascii>>,
    number: u64,
}

/// The token of a client.
pub(super) struct Tokens {
    options: Arc<Options>,
    held: Mutex<Option<Token>>,
    asking: tokio::sync::Mutex<()>,
    asked: AtomicU64,
}

impl Tokens {
    pub(super) fn new(options: Arc<Options>) -> Self {
        Self { options, held: Mutex::default(), asking: tokio::sync::Mutex::default(), asked: AtomicU64::new(0) }
    }

    /// The token, asked for if there is none.
    pub(super) async fn token(&self, link: &Link) -> Result<Token, Error> {
        let Some(user) = &self.options.user else { return Ok(Token::default()) };
        if let Some(token) = self.held().clone() {
            return Ok(token);
        }
        let _turn = self.asking.lock().await;
        if let Some(token) = self.held().clone() {
            return Ok(token);
        }
        let number = self.asked.fetch_add(1, Relaxed) + 1;
        let token = Token { value: self.authenticate(user, link).await?, number };
        *self.held() = Some(token.clone());
        Ok(token)
    }

    /// Notes that etcd does not take a token. Answers whether asking for another may help.
    pub(super) fn refused(&self, token: &Token) -> bool {
        let mut held = self.held();
        if held.as_ref().is_some_and(|held| held.number == token.number) {
            *held = None;
        }
        self.options.user.is_some()
    }

    /// How often a token was asked for.
    pub(super) fn asked(&self) -> u64 {
        self.asked.load(Relaxed)
    }

    async fn authenticate(&self, user: &User, link: &Link) -> Result<Option<MetadataValue<Ascii>>, Error> {
        let error = |kind, detail: String| Error::new(kind, &link.endpoint, detail);
        let password = password(user).await.map_err(|detail| error(Kind::Credentials, detail))?;
        let request = Request::new(wire::AuthenticateRequest { name: user.name.clone(), password });
        let mut client = AuthClient::new(link.channel.clone());
        let asked = tokio::time::timeout(self.options.request_timeout, client.authenticate(request)).await;
        let late = || error(Kind::Timeout, format!("no token within {:?}", self.options.request_timeout));
        match asked.map_err(|_| late())? {
            Ok(answer) => {
                let token = answer.into_inner().token.parse();
                token.map(Some).map_err(|_| error(Kind::Server, "its token is no text".to_owned()))
            }
            // A cluster without users needs no token from those who have one.
            Err(status) if status.message().contains("authentication is not enabled") => Ok(None),
            Err(status) => Err(Error::of_status(&link.endpoint, &status)),
        }
    }

    fn held(&self) -> MutexGuard<'_, Option<Token>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Token {
    /// Puts it on a request.
    pub(super) fn sign<T>(&self, request: &mut Request<T>) {
        if let Some(value) = &self.value {
            request.metadata_mut().insert(FIELD, value.clone());
        }
    }
}

async fn password(user: &User) -> Result<String, String> {
    match &user.password {
        Password::Text(text) => Ok(text.clone()),
        Password::File(path) => match tokio::fs::read_to_string(path).await {
            Ok(text) => Ok(text.trim_end_matches(['\r', '\n']).to_owned()),
            Err(error) => Err(format!("the password file {} cannot be read: {error}", path.display())),
        },
    }
}
