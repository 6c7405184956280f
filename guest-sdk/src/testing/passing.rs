//! A body on its way past a plugin that sees it in chunks. Knows no plugin.

use std::{collections::VecDeque, mem};

type Chunks = Vec<Vec<u8>>;

/// What a plugin is given of a body at a time.
const CHUNK_BYTES_MAX: usize = 64 << 10;

/// A body in chunks, one of which is the present one.
#[derive(Debug, Default)]
pub(super) struct Passing {
    comes: VecDeque<Vec<u8>>,
    present: Option<Vec<u8>>,
    /// What takes the present one's place.
    replaced: Option<Vec<u8>>,
    passed: Chunks,
    /// What comes after the present one is not shown.
    rest_passes: bool,
}

impl Passing {
    /// A body that came in these chunks.
    pub(super) fn new(chunks: Chunks) -> Self {
        let pieces = |chunk: Vec<u8>| chunk.chunks(CHUNK_BYTES_MAX).map(<[u8]>::to_vec).collect::<Vec<_>>();
        Self { comes: chunks.into_iter().flat_map(pieces).collect(), ..Self::default() }
    }

    /// The chunk that a call begins with, and whether it is the last; `None` where there is nothing more to show.
    pub(super) fn begin(&mut self) -> Option<(Vec<u8>, bool)> {
        self.pass();
        if self.rest_passes {
            self.passed.extend(mem::take(&mut self.comes));
        }
        self.present = Some(self.comes.pop_front()?);
        self.shown()
    }

    /// The chunk after the present one, which passes; `None` leaves the present one as it is.
    pub(super) fn next(&mut self) -> Option<(Vec<u8>, bool)> {
        if self.rest_passes || self.comes.is_empty() {
            return None;
        }
        self.begin()
    }

    pub(super) fn replace(&mut self, bytes: Vec<u8>) {
        self.replaced = Some(bytes);
    }

    /// The present chunk stays as it came.
    pub(super) fn undo(&mut self) {
        self.replaced = None;
    }

    pub(super) const fn pass_rest(&mut self) {
        self.rest_passes = true;
    }

    /// All that passed.
    pub(super) fn passed(mut self) -> Chunks {
        self.pass();
        self.passed
    }

    fn pass(&mut self) {
        if let Some(present) = self.present.take() {
            let passes = self.replaced.take().unwrap_or(present);
            if !passes.is_empty() {
                self.passed.push(passes);
            }
        }
    }

    fn shown(&self) -> Option<(Vec<u8>, bool)> {
        Some((self.present.clone()?, self.comes.is_empty()))
    }
}

pub(crate) mod imports {
    //! What a plugin imports to ask for the rest of it, beside the rest of what it imports (`imports`).

    use super::Passing;
    pub(crate) use crate::bindings::tidegate::plugin::body::Chunk;
    use crate::testing::scope::visit;

    // The bindings' signature, for bodies that break off; a test's do not.
    #[allow(clippy::unnecessary_wraps, reason = "as it is in the WIT")]
    pub(crate) fn next() -> Result<Option<Chunk>, String> {
        Ok(passing(Passing::next).map(|(bytes, last)| Chunk { bytes, last }))
    }

    pub(crate) fn replace(bytes: &[u8]) {
        passing(|passing| passing.replace(bytes.to_vec()));
    }

    pub(crate) fn pass_rest() {
        passing(Passing::pass_rest);
    }

    fn passing<R>(f: impl FnOnce(&mut Passing) -> R) -> R {
        let visit = visit();
        let mut passing = visit.passing.borrow_mut();
        f(passing.as_mut().expect("no chunk is being seen: a guest would trap here"))
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        BodyVerdict, Chunks, LocalResponse, Phases, Plugin, Problems, Result, Verdict,
        testing::{ClientRequest, Host, UpstreamResponse, json},
    };

    // Does to each chunk what it says; looks at no more than `seen_max`.
    struct Obedient {
        seen_max: usize,
    }

    impl Plugin for Obedient {
        type Settings = usize;

        fn new(seen_max: usize) -> Result<Self, Problems> {
            Ok(Self { seen_max })
        }

        fn phases(&self) -> Phases {
            Phases::none().request_stream().response_stream()
        }

        fn on_request_stream(&self, chunks: Chunks<'_>) -> Result<Verdict> {
            for chunk in chunks.take(self.seen_max) {
                let chunk = chunk?;
                match &chunk[..] {
                    b"remove" => chunk.remove()?,
                    b"upper" => chunk.replace(b"UPPER")?,
                    b"answer" => return Ok(Verdict::Respond(LocalResponse::new(403))),
                    b"fail" => return Err(told_to_fail()),
                    _ => {}
                }
            }
            Ok(Verdict::Proceed)
        }

        fn on_response_stream(&self, mut chunks: Chunks<'_>) -> Result<Verdict> {
            let late = chunks.next().expect("a body that is shown has a chunk")?;
            if chunks.next().is_some() {
                late.replace(b"too late")?;
            }
            Ok(Verdict::Proceed)
        }

        fn on_request_chunk(&self, _: Vec<u8>, _: bool) -> Result<BodyVerdict> {
            Err(crate::Error::new("the stream was asked for"))
        }
    }

    fn told_to_fail() -> crate::Error {
        crate::Error::new("it was told to")
    }

    fn sent(seen_max: usize, chunks: &[&str]) -> (u16, Option<Vec<String>>) {
        let plugin = Host::new().load::<Obedient>(json!(seen_max)).unwrap();
        let exchange = plugin.send(ClientRequest::new("POST", "/").chunks(chunks.iter().copied()));
        let text = |chunk: &Vec<u8>| String::from_utf8_lossy(chunk).into_owned();
        (exchange.status(), exchange.forwarded.map(|forwarded| forwarded.chunks.iter().map(text).collect()))
    }

    #[test]
    fn a_chunk_passes_is_replaced_or_removed_and_what_is_not_asked_for_passes() {
        let passes = |seen_max, chunks: &[&str]| sent(seen_max, chunks).1.expect("it reaches the upstream");
        assert_eq!(passes(9, &["a", "upper", "remove", "b"]), ["a", "UPPER", "b"]);
        assert_eq!(passes(9, &["upper"]), ["UPPER"]);
        assert_eq!(passes(9, &["remove"]), [""; 0]);
        assert_eq!(passes(2, &["upper", "remove", "upper", "remove"]), ["UPPER", "upper", "remove"]);
        assert_eq!(passes(0, &["upper", "remove"]), ["upper", "remove"]);
    }

    #[test]
    fn an_answer_or_a_failure_ends_it() {
        assert_eq!(sent(9, &["a", "answer", "b"]), (403, None));
        assert_eq!(sent(9, &["a", "fail", "b"]), (503, None));
    }

    #[test]
    fn a_chunk_that_has_passed_is_not_replaced() {
        let plugin = Host::new().load::<Obedient>(json!(0)).unwrap();
        let exchange = plugin.exchange(ClientRequest::get("/"), |_| UpstreamResponse::new(200).chunks(["a", "b"]));
        assert!(exchange.failure.is_some_and(|failure| failure.contains("replace it before")));
    }
}
