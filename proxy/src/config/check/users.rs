//! Checks basic authentication: a list of users with the hashes of their passwords, in the form of `htpasswd`. No message
//! shows a hash.

use std::collections::HashSet;

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};

use super::{scope::Scope, steps::editable};
use crate::config::{
    node::Pos,
    raw::{self, Text},
    spec::{Argon2Hash, Argon2Variant, BasicAuth, Middleware, PasswordHash, User},
};

pub(super) fn basic_auth(scope: &mut Scope<'_>, raw: raw::BasicAuth, pos: Pos) -> Option<Middleware> {
    if raw.users.is_absent() {
        scope.missing("users", pos, "list lines of `NAME:HASH`, or write `${file:users.htpasswd}`");
    }
    let at = raw.users.pos();
    let mut users = Users::default();
    for (Text(text), pos) in raw.users.many() {
        let revealed = scope.reveal(&text, pos);
        revealed.lines().for_each(|line| users.read(scope, line.trim(), pos));
    }
    // A secret that was not read yet is empty.
    if let (Some(pos), true, true) = (at, users.users.is_empty(), scope.outcome.secrets.is_empty() && scope.is_sound())
    {
        scope.error("missing-field", pos, "there is nobody in this list", "`htpasswd -nB NAME` prints a line for it");
    }
    let realm = match raw.realm.spot() {
        None => "restricted".to_owned(),
        Some((text, pos)) => realm(scope, text, pos).unwrap_or_default(),
    };
    let header = raw.header.spot().and_then(|(text, pos)| editable(scope, &text, pos, true));
    let pass_credentials = raw.pass_credentials.or(false);
    Some(Middleware::BasicAuth(BasicAuth { realm, users: users.users, header, pass_credentials }))
}

fn realm(scope: &mut Scope<'_>, text: String, pos: Pos) -> Option<String> {
    let plain = |byte: u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
    if !text.bytes().all(plain) {
        let hint = "it is made of visible ASCII and spaces, without quotes and backslashes";
        scope.error("bad-realm", pos, "this cannot be a realm", hint);
        return None;
    }
    Some(text)
}

#[derive(Default)]
struct Users {
    users: Vec<User>,
    names: HashSet<String>,
}

impl Users {
    fn read(&mut self, scope: &mut Scope<'_>, line: &str, pos: Pos) {
        if line.is_empty() || line.starts_with('#') {
            return;
        }
        let hint = "a line is `NAME:HASH`; `htpasswd -nB NAME` prints one";
        let Some((name, hash)) = line.split_once(':').filter(|(name, _)| !name.is_empty()) else {
            let number = self.names.len() + 1;
            return scope.error("bad-user", pos, format!("entry {number} of this list has no name and hash"), hint);
        };
        if name.chars().any(char::is_control) {
            return scope.error("bad-user", pos, "the name of a user has a control character", hint);
        }
        if !self.names.insert(name.to_owned()) {
            let message = format!("the user `{name}` stands in this list twice");
            return scope.error("bad-user", pos, message, "remove one of the two lines");
        }
        match password_hash(hash) {
            Ok(hash) => self.users.push(User { name: name.to_owned(), hash }),
            Err(why) => {
                let hint = "make one with `htpasswd -nB NAME` (bcrypt) or `argon2 SALT -id -e`";
                scope.error("bad-hash", pos, format!("the password hash of the user `{name}` {why}"), hint);
            }
        }
    }
}

// More would keep a processor busy for seconds with each wrong password.
const BCRYPT_COST_MAX: u32 = 16;
const ARGON2_MEMORY_KIB_MAX: u32 = 256 << 10;
const ARGON2_PASSES_MAX: u32 = 64;
const ARGON2_LANES_MAX: u32 = 64;

fn password_hash(text: &str) -> Result<PasswordHash, &'static str> {
    if ["$2a$", "$2b$", "$2y$"].iter().any(|prefix| text.starts_with(prefix)) {
        let parts: bcrypt::HashParts = text.parse().map_err(|_| "is not well-formed bcrypt")?;
        return match parts.get_cost() {
            4..=BCRYPT_COST_MAX => Ok(PasswordHash::Bcrypt(text.into())),
            _ => Err("has a cost that is not between 4 and 16"),
        };
    }
    if text.starts_with("$argon2") {
        return argon2(text).map(PasswordHash::Argon2).ok_or("is not well-formed argon2, or asks for too much");
    }
    Err("is of no kind that is accepted: bcrypt and argon2 are")
}

// The PHC string format: `$argon2id$v=19$m=65536,t=3,p=4$SALT$DIGEST`.
fn argon2(text: &str) -> Option<Argon2Hash> {
    let mut parts = text.split('$').skip(1).peekable();
    let variant = match parts.next()? {
        "argon2id" => Argon2Variant::Id,
        "argon2i" => Argon2Variant::I,
        "argon2d" => Argon2Variant::D,
        _ => return None,
    };
    let version = match parts.next_if(|part| part.starts_with("v="))? {
        "v=19" => 0x13,
        "v=16" => 0x10,
        _ => return None,
    };
    let mut costs = parts.next()?.split(',');
    let mut cost = |name: &str| costs.next()?.strip_prefix(name)?.strip_prefix('=')?.parse::<u32>().ok();
    let (memory_kib, passes, lanes) = (cost("m")?, cost("t")?, cost("p")?);
    let salt = STANDARD_NO_PAD.decode(parts.next()?).ok()?;
    let digest = STANDARD_NO_PAD.decode(parts.next()?).ok()?;
    let fits = parts.next().is_none()
        && (1..=ARGON2_LANES_MAX).contains(&lanes)
        && (8 * lanes..=ARGON2_MEMORY_KIB_MAX).contains(&memory_kib)
        && (1..=ARGON2_PASSES_MAX).contains(&passes)
        && (8..=64).contains(&salt.len())
        && (12..=64).contains(&digest.len());
    fits.then_some(Argon2Hash { variant, version, memory_kib, passes, lanes, salt, digest })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_taken_or_refused() {
        let bcrypt = "$2y$05$bvIG6Nmid91Mu9RcmmWZfO5HJIMCT8riNW0hEp8f6/FuA2/mHZFpe";
        let argon2 = "$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$CRrvNtUw5VnfSOAvxPqGVnGmxBAuL0cnQHdbqm5PTS4";
        let cases = [
            (bcrypt.to_owned(), true),
            (bcrypt.replace("$2y$", "$2a$"), true),
            (bcrypt.replace("$2y$", "$2x$"), false),
            (bcrypt.replace("$05$", "$17$"), false),
            (bcrypt.replace("$05$", "$03$"), false),
            (bcrypt[..59].to_owned(), false),
            (argon2.to_owned(), true),
            (argon2.replace("argon2id", "argon2i"), true),
            (argon2.replace("argon2id", "argon2x"), false),
            (argon2.replace("v=19", "v=20"), false),
            (argon2.replace("v=19$", ""), false),
            (argon2.replace("m=64", "m=7"), false),
            (argon2.replace("m=64", "m=9999999"), false),
            (argon2.replace("t=1", "t=0"), false),
            (argon2.replace("c29tZXNhbHQ", "c29t"), false),
            (format!("{argon2}$x"), false),
            ("$apr1$lZL6V/ci$eIMz/iKDkbtys/uU7LEK00".into(), false),
            ("{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=".into(), false),
            ("plain".into(), false),
            (String::new(), false),
        ];
        for (text, taken) in cases {
            assert_eq!(password_hash(&text).is_ok(), taken, "{text}");
        }
    }
}
