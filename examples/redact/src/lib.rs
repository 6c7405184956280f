//! Masks words in response bodies as they stream, also where a word is cut in two by the chunks: the end of a chunk that
//! may be the beginning of a word is held back until the next one says whether it is.
//!
//! Written as straight-line code over [`Chunks`]: what is held back is a variable.

use schemars::JsonSchema;
use serde::Deserialize;
use tidegate_guest::{Chunks, Phases, Plugin, Problem, Problems, Response, Result, Verdict, metrics::Counter};

/// What stands under `config:`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Settings {
    /// What nobody is to read. Every byte of it becomes a `*`.
    words: Vec<String>,
}

struct Redact {
    words: Vec<Vec<u8>>,
    masked: Counter,
}

impl Plugin for Redact {
    type Settings = Settings;

    fn new(settings: Settings) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        for (index, word) in settings.words.iter().enumerate() {
            if word.is_empty() {
                problems.push(Problem::at(format!("/words/{index}"), "must not be empty"));
            }
        }
        let words = settings.words.into_iter().map(String::into_bytes).collect();
        problems.or(Self { words, masked: Counter::new("masked") })
    }

    fn phases(&self) -> Phases {
        Phases::none().response().response_stream()
    }

    fn on_response(&self, response: Response) -> Result<Verdict> {
        // What is compressed, or no text, is not looked into.
        let text =
            response.header("content-type").is_some_and(|kind| kind.starts_with("text/") || kind.contains("json"));
        if !text || response.header("content-encoding").is_some() {
            response.skip_body();
        }
        Ok(Verdict::Proceed)
    }

    fn on_response_stream(&self, chunks: Chunks<'_>) -> Result<Verdict> {
        let mut held = Vec::new();
        for chunk in chunks {
            let chunk = chunk?;
            held.extend_from_slice(&chunk);
            self.mask(&mut held);
            let open = if chunk.is_last() { 0 } else { self.open(&held) };
            let rest = held.split_off(held.len() - open);
            chunk.replace(&held)?;
            held = rest;
        }
        Ok(Verdict::Proceed)
    }
}

impl Redact {
    fn mask(&self, text: &mut [u8]) {
        for word in &self.words {
            let mut at = 0;
            while let Some(found) = text[at..].windows(word.len()).position(|window| window == word) {
                let begins = at + found;
                at = begins + word.len();
                text[begins..at].fill(b'*');
                self.masked.add(1);
            }
        }
    }

    /// How many bytes at the end of `text` may be the beginning of a word.
    fn open(&self, text: &[u8]) -> usize {
        let begins = |word: &Vec<u8>| (1..word.len().min(text.len() + 1)).rev().find(|n| text.ends_with(&word[..*n]));
        self.words.iter().filter_map(begins).max().unwrap_or(0)
    }
}

tidegate_guest::export!(Redact);

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_guest::testing::{ClientRequest, Host, UpstreamResponse, json};

    fn received(kind: &str, chunks: &[&str]) -> Vec<String> {
        let host = Host::new();
        let redact = host.load::<Redact>(json!({ "words": ["secret", "retina"] })).unwrap();
        let answer = || UpstreamResponse::new(200).header("content-type", kind).chunks(chunks.iter().copied());
        let exchange = redact.exchange(ClientRequest::get("/"), |_| answer());
        exchange.response.chunks.iter().map(|chunk| String::from_utf8_lossy(chunk).into_owned()).collect()
    }

    #[test]
    fn words_are_masked_wherever_the_chunks_are_cut() {
        let text = "a secret, a secretina, secsecret and secre";
        let masked = "a ******, a ******ina, sec****** and secre";
        for cut in 0..text.len() {
            let (one, two) = text.split_at(cut);
            assert_eq!(received("text/plain", &[one, two]).concat(), masked, "cut at {cut}");
        }
        let bytes: Vec<_> = (0..text.len()).map(|at| &text[at..=at]).collect();
        assert_eq!(received("application/json", &bytes).concat(), masked);
    }

    #[test]
    fn only_what_may_be_the_beginning_of_a_word_is_held_back() {
        assert_eq!(received("text/plain", &["one ", "two se", "ven"]), ["one ", "two ", "seven"]);
    }

    #[test]
    fn what_is_no_text_is_not_looked_into() {
        assert_eq!(received("image/png", &["a secret"]), ["a secret"]);
    }

    #[test]
    fn an_empty_word_is_refused() {
        let problems = Host::new().load::<Redact>(json!({ "words": ["a", ""] })).unwrap_err();
        assert_eq!(problems[0].pointer, "/words/1");
    }
}
