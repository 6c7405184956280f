//! What responses say of a limit: `RateLimit-Policy` and `RateLimit` as in draft-ietf-httpapi-ratelimit-headers-10
//! (unchanged in the working group's text of -11), and the refusals. Knows no host.

use std::time::Duration;

use tidegate_guest::LocalResponse;

use crate::bucket::{Limit, Taken};

/// A limit as clients are told of it.
#[derive(Debug)]
pub(crate) struct Policy {
    name: String,
    /// The value of `RateLimit-Policy`.
    pub(crate) described: String,
}

/// How much is left, as responses say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Left {
    requests: u32,
    seconds: u32,
}

impl Policy {
    /// The policy of this name; the name is plain (see the settings).
    pub(crate) fn new(name: &str, limit: &Limit) -> Self {
        let (quota, window) = quota(limit);
        // The draft leaves room for parameters of a vendor's own.
        let burst = match limit.burst == limit.rate.requests {
            true => String::new(),
            false => format!(";tidegate-burst={}", limit.burst),
        };
        Self { name: name.to_owned(), described: format!("\"{name}\";q={quota};w={window}{burst}") }
    }

    /// The value of `RateLimit`.
    pub(crate) fn left(&self, left: Left) -> String {
        let mut text = String::with_capacity(self.name.len() + 32);
        text.push('"');
        text.push_str(&self.name);
        text.push_str("\";r=");
        push(&mut text, left.requests);
        text.push_str(";t=");
        push(&mut text, left.seconds);
        text
    }

    /// 429 (RFC 6585 section 4), with when to come again, and what was exceeded (RFC 9457; the type is the draft's).
    pub(crate) fn refusal(&self, left: Left, with_fields: bool) -> LocalResponse {
        let body = format!(
            "{{\"type\":\"https://iana.org/assignments/http-problem-types#quota-exceeded\",\
             \"title\":\"Too many requests\",\"status\":429,\"violated-policies\":[\"{}\"]}}\n",
            self.name
        );
        let answer = LocalResponse::new(429).field("retry-after", left.seconds.max(1).to_string());
        let answer = match with_fields {
            true => answer.field(POLICY, self.described.clone()).field(LEFT, self.left(left)),
            false => answer,
        };
        answer.body("application/problem+json", body)
    }
}

/// 503: whether the request is within the limit cannot be told now.
pub(crate) fn undecided() -> LocalResponse {
    LocalResponse::new(503).field("retry-after", "1").text("Service unavailable\n")
}

/// The fields' names.
pub(crate) const POLICY: &str = "ratelimit-policy";
pub(crate) const LEFT: &str = "ratelimit";

// `q` and `w`: windows are whole seconds, so both are multiplied until this one is.
fn quota(limit: &Limit) -> (u128, u128) {
    let (per, second) = (limit.rate.per.as_millis().max(1), 1_000);
    let times = second / greatest_common_divisor(per, second);
    (u128::from(limit.rate.requests) * times, per * times / second)
}

fn greatest_common_divisor(mut a: u128, mut b: u128) -> u128 {
    while b > 0 {
        (a, b) = (b, a % b);
    }
    a
}

// A number in decimal. What `format!` brings along costs ten times as much, and this is done for each response.
fn push(text: &mut String, number: u32) {
    if number >= 10 {
        push(text, number / 10);
    }
    text.push(char::from(b'0' + (number % 10) as u8));
}

impl Left {
    /// As the draft has it: for `t` seconds, a client can send no more than `r`.
    pub(crate) fn of(taken: &Taken) -> Self {
        Self { requests: taken.left, seconds: ceiling(taken.next) }
    }
}

// A bucket counts in billionths and rounds down: what is over a second by no more than that makes no second.
fn ceiling(duration: Duration) -> u32 {
    let over = duration.saturating_sub(Duration::from_micros(1));
    let seconds = over.as_secs().saturating_add((over.subsec_nanos() > 0).into());
    u32::try_from(seconds).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bucket::Rate;

    fn limit(requests: u32, per_millis: u64, burst: u32) -> Limit {
        Limit { rate: Rate { requests, per: Duration::from_millis(per_millis) }, burst }
    }

    #[test]
    fn a_policy_says_its_quota_for_whole_seconds() {
        let cases = [
            (limit(100, 1_000, 100), "\"default\";q=100;w=1"),
            (limit(100, 60_000, 20), "\"default\";q=100;w=60;tidegate-burst=20"),
            (limit(100, 500, 100), "\"default\";q=200;w=1"),
            (limit(3, 1_500, 3), "\"default\";q=6;w=3"),
            (limit(1, 333, 1), "\"default\";q=1000;w=333"),
        ];
        for (limit, described) in cases {
            assert_eq!(Policy::new("default", &limit).described, described);
        }
    }

    #[test]
    fn what_is_left_is_said_with_how_long_it_stays_so() {
        let limit = limit(10, 60_000, 2);
        let policy = Policy::new("default", &limit);
        let first = limit.take(None, Duration::ZERO);
        assert_eq!(policy.left(Left::of(&first)), "\"default\";r=1;t=6");
        let second = limit.take(Some(first.bucket), Duration::from_secs(2));
        assert_eq!(policy.left(Left::of(&second)), "\"default\";r=0;t=4");
        let longest = Left { requests: u32::MAX, seconds: 10 };
        assert_eq!(policy.left(longest), "\"default\";r=4294967295;t=10");
    }

    #[test]
    fn a_refusal_says_when_to_come_again() {
        let limit = limit(10, 60_000, 1);
        let first = limit.take(None, Duration::ZERO);
        let refused = limit.take(Some(first.bucket), Duration::from_millis(1_500));
        let answer = Policy::new("a b", &limit).refusal(Left::of(&refused), true);
        let field = |name| answer.fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
        assert_eq!(answer.status, 429);
        assert_eq!(field("retry-after").unwrap(), b"5");
        assert_eq!(field("ratelimit").unwrap(), b"\"a b\";r=0;t=5");
        let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(body["violated-policies"][0], "a b");
    }
}
