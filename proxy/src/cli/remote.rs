//! The commands that ask a running gateway: which endpoint, and how its answer reads. Knows answers as JSON.

use std::io::Write;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::{
    Failure,
    args::{Admin, Format},
    client::{self, Answer},
    print, say,
};

/// `tidegate reload`.
pub(super) fn reload(admin: &Admin, dry_run: bool, format: Format, out: &mut dyn Write) -> Result<(), Failure> {
    let target = if dry_run { "/-/reload?dry_run=1" } else { "/-/reload" };
    let (status, attempt) = json(ask(admin, "POST", target)?, &[200, 422])?;
    match format {
        Format::Json => print::json(out, &attempt),
        Format::Text => say(out, &print::attempt(&attempt)),
    }
    if status == 200 { Ok(()) } else { Err(Failure::Refused) }
}

/// `tidegate status`.
pub(super) fn status(admin: &Admin, format: Format, out: &mut dyn Write) -> Result<(), Failure> {
    let (_, status) = json(ask(admin, "GET", "/-/status")?, &[200])?;
    match format {
        Format::Json => print::json(out, &status),
        Format::Text => say(out, &print::status(&status)),
    }
    Ok(())
}

/// `tidegate config render`.
pub(super) fn render(admin: &Admin, explain: bool, out: &mut dyn Write) -> Result<(), Failure> {
    let target = if explain { "/-/config?explain=1" } else { "/-/config" };
    let answer = ask(admin, "GET", target)?;
    if answer.status != 200 {
        return Err(complaint(&answer));
    }
    say(out, &String::from_utf8_lossy(&answer.body));
    Ok(())
}

/// `tidegate explain`: method, URL, header fields, listener.
pub(super) fn explain(
    admin: &Admin,
    (method, url, headers, listener): (&str, &str, &[String], Option<&str>),
    format: Format,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let mut target = format!("/-/explain?method={}&url={}", encoded(method), encoded(url));
    for header in headers {
        target.push_str("&header=");
        target.push_str(&encoded(header));
    }
    if let Some(listener) = listener {
        target.push_str("&listener=");
        target.push_str(&encoded(listener));
    }
    let (_, explanation) = json(ask(admin, "GET", &target)?, &[200])?;
    match format {
        Format::Json => print::json(out, &explanation),
        Format::Text => say(out, &print::explanation(&explanation)),
    }
    Ok(())
}

fn ask(admin: &Admin, method: &str, target: &str) -> Result<Answer, Failure> {
    client::ask(admin, method, target).map_err(Failure::Failed)
}

fn json(answer: Answer, expected: &[u16]) -> Result<(u16, Value), Failure> {
    if !expected.contains(&answer.status) {
        return Err(complaint(&answer));
    }
    let value = serde_json::from_slice(&answer.body);
    let value = value.map_err(|error| Failure::Failed(format!("the admin endpoint's answer is no JSON: {error}")))?;
    Ok((answer.status, value))
}

// What the endpoint says is wrong, in its own words.
fn complaint(answer: &Answer) -> Failure {
    let said = serde_json::from_slice::<Value>(&answer.body).ok();
    let said = said.as_ref().and_then(|said| said["error"].as_str());
    Failure::Failed(match said {
        Some(said) => format!("the gateway answered {}: {said}", answer.status),
        None => format!("the gateway answered {}; is --admin its admin endpoint?", answer.status),
    })
}
