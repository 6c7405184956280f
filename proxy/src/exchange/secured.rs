//! What a TLS handshake settled about a connection, as exchanges, filters and logs may know it. Knows no TLS library.

use std::fmt::Write as _;

/// A connection's TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secured {
    /// `1.2` or `1.3`.
    pub version: &'static str,
    /// The cipher suite, as IANA registers it without `TLS_`'s place (`TLS13_AES_128_GCM_SHA256`); none where it is not
    /// known.
    pub cipher: Option<&'static str>,
    /// The name that the client asked for.
    pub server_name: Option<String>,
    /// Who the client is, where it showed a certificate; it was verified.
    pub client: Option<ClientIdentity>,
}

/// What a verified certificate says of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientIdentity {
    /// SHA-256 of the certificate, 64 lower-case hexadecimal digits.
    pub fingerprint: String,
    /// Its subject, `CN=alice, O=Example`.
    pub subject: String,
    /// Its DNS names.
    pub dns_names: Vec<String>,
    /// Its URIs (SPIFFE IDs among them).
    pub uris: Vec<String>,
    /// The hash of the authorities that it was held against.
    pub authority: String,
}

impl ClientIdentity {
    /// An element of `X-Forwarded-Client-Cert`: `Hash=…;Subject="…";URI=…;DNS=…`.
    pub fn forwarded(&self) -> String {
        let mut text = format!("Hash={};Subject={}", self.fingerprint, quoted(&self.subject));
        let named = |kind, values: &[String], text: &mut String| {
            for value in values {
                let plain = value.bytes().all(|byte| byte.is_ascii_graphic() && !b",;=\"\\".contains(&byte));
                let value = if plain { value.clone() } else { quoted(value) };
                write!(text, ";{kind}={value}").expect("writing to a string does not fail");
            }
        };
        named("URI", &self.uris, &mut text);
        named("DNS", &self.dns_names, &mut text);
        text
    }

    /// What plugins and logs are told, by name. No plugin can set these: a middleware's name holds no colon.
    pub fn attributes(&self) -> Vec<(String, String)> {
        let mut attributes = vec![
            ("tls:client.subject".to_owned(), self.subject.clone()),
            ("tls:client.fingerprint".to_owned(), self.fingerprint.clone()),
        ];
        for (name, values) in [("tls:client.dns", &self.dns_names), ("tls:client.uri", &self.uris)] {
            if !values.is_empty() {
                attributes.push((name.to_owned(), values.join(",")));
            }
        }
        attributes
    }
}

// As a quoted string; what cannot stand in a field is a question mark.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            character if character.is_control() => quoted.push('?'),
            character => quoted.push(character),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_told_in_a_form_that_cannot_be_broken_out_of() {
        let identity = ClientIdentity {
            fingerprint: "ab".into(),
            subject: "CN=a\"b;\r\nHash=cd".into(),
            dns_names: vec!["a.example".into()],
            uris: vec!["spiffe://a/b".into(), "x:a;Hash=ef".into()],
            authority: String::new(),
        };
        let expected = r#"Hash=ab;Subject="CN=a\"b;??Hash=cd";URI=spiffe://a/b;URI="x:a;Hash=ef";DNS=a.example"#;
        assert_eq!(identity.forwarded(), expected);
    }
}
