//! Whether a password is the one that a hash was made of. Takes long.

use argon2::{Algorithm, Argon2, Params, Version};
use subtle::ConstantTimeEq as _;

use crate::config::spec::{Argon2Hash, Argon2Variant, PasswordHash};

/// Whether `password` fits `hash`.
pub(super) fn fits(password: &[u8], hash: &PasswordHash) -> bool {
    match hash {
        PasswordHash::Bcrypt(hash) => bcrypt::verify(password, hash).unwrap_or(false),
        PasswordHash::Argon2(hash) => argon2_fits(password, hash).unwrap_or(false),
    }
}

fn argon2_fits(password: &[u8], hash: &Argon2Hash) -> Result<bool, argon2::Error> {
    let algorithm = match hash.variant {
        Argon2Variant::D => Algorithm::Argon2d,
        Argon2Variant::I => Algorithm::Argon2i,
        Argon2Variant::Id => Algorithm::Argon2id,
    };
    let params = Params::new(hash.memory_kib, hash.passes, hash.lanes, Some(hash.digest.len()))?;
    let mut digest = vec![0; hash.digest.len()];
    let argon2 = Argon2::new(algorithm, Version::try_from(hash.version)?, params);
    argon2.hash_password_into(password, &hash.salt, &mut digest)?;
    Ok(bool::from(digest.ct_eq(&hash.digest)))
}
