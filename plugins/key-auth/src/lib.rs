//! Asks for an API key. Which keys there are, the configuration says by their hashes; whose key came, later plugins, the
//! log and, if asked, the upstream are told. What a key is made of and where it is looked for: `keys`, `credential`.

mod credential;
mod keys;
mod settings;

use settings::Settings;
use tidegate_guest::{
    LocalResponse, Phases, Plugin, Problems, Request, Result, Verdict, exchange, metrics::Counter, random,
};

use self::{credential::Credential, keys::Keys};

struct KeyAuth {
    settings: Settings,
    keys: Keys,
    accepted: Counter,
    refused: Counter,
}

/// Of a key. A longer one is no key.
const KEY_BYTES_MAX: usize = 4 << 10;

impl Plugin for KeyAuth {
    type Settings = Settings;

    fn new(settings: Settings) -> Result<Self, Problems> {
        let known = settings.check()?;
        Ok(Self {
            keys: Keys::new(&random::bytes(16), known),
            settings,
            accepted: Counter::new("accepted"),
            refused: Counter::new("refused"),
        })
    }

    fn phases(&self) -> Phases {
        Phases::none().request()
    }

    fn on_request(&self, request: Request) -> Result<Verdict> {
        // Before anything else, so that no client ever speaks for a consumer.
        if let Some(header) = &self.settings.consumer_header {
            request.remove_header(header)?;
        }
        let credential = Credential::find(&self.settings, &request);
        if !self.settings.keep_key {
            credential::remove(&self.settings, &request)?;
        }
        match credential {
            Credential::None => match &self.settings.anonymous {
                Some(consumer) => self.accept(&request, consumer),
                None => Ok(self.refuse("an API key is needed\n")),
            },
            Credential::Many => Ok(self.refuse("more than one API key was sent\n")),
            Credential::One(key) if key.len() > KEY_BYTES_MAX => Ok(self.refuse("this API key is not known\n")),
            Credential::One(key) => match self.keys.find(&key) {
                Some(consumer) => self.accept(&request, &self.settings.consumers[consumer].name),
                None => Ok(self.refuse("this API key is not known\n")),
            },
        }
    }
}

impl KeyAuth {
    fn accept(&self, request: &Request, consumer: &str) -> Result<Verdict> {
        exchange::set_attribute("consumer", consumer)?;
        if let Some(header) = &self.settings.consumer_header {
            request.set_header(header, consumer)?;
        }
        self.accepted.add(1);
        Ok(Verdict::Proceed)
    }

    fn refuse(&self, why: &str) -> Verdict {
        self.refused.add(1);
        // RFC 9110 section 15.5.2 wants a challenge; no scheme is registered for API keys, and this name is in use.
        let challenge = format!("Key realm=\"{}\"", self.settings.realm);
        Verdict::Respond(LocalResponse::new(401).field("www-authenticate", challenge).text(why))
    }
}

tidegate_guest::export!(KeyAuth);

#[cfg(test)]
mod tests;
