//! RSASSA-PKCS1-v1_5 with SHA-256, verification only (RFC 8017 section 8.2.2). The arithmetic is `crypto-bigint`'s, which
//! P-256 brings along; the `rsa` crate is not used. Nothing here is secret, so nothing need take constant time.
//!
//! The signature is raised to the public exponent, and the whole block is compared with the one that a signature of
//! this digest must give. Nothing of the block is parsed: no room for padding that only looks right.

use crypto_bigint::{
    BoxedUint, Odd,
    modular::{BoxedMontyForm, BoxedMontyParams},
};

/// A public key with what its arithmetic needs, computed once.
#[derive(Clone, Debug)]
pub(super) struct PublicKey {
    modulus: BoxedMontyParams,
    exponent: u32,
    /// Bytes of the modulus: of every signature.
    bytes: usize,
}

/// Bits of a modulus: RFC 7518 section 3.3 wants 2048 at least, and a longer one than 4096 takes too long.
const BITS: std::ops::RangeInclusive<usize> = 2048..=4096;

/// DigestInfo of SHA-256, up to the digest (RFC 8017 section 9.2, note 1).
const DIGEST_INFO: [u8; 19] =
    [0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20];

impl PublicKey {
    /// Of a modulus and an exponent, big-endian.
    pub(super) fn new(modulus: &[u8], exponent: &[u8]) -> Result<Self, &'static str> {
        let (modulus, exponent) = (trimmed(modulus), trimmed(exponent));
        let bits = modulus.first().map_or(0, |first| modulus.len() * 8 - first.leading_zeros() as usize);
        if !BITS.contains(&bits) {
            return Err("an RSA modulus must have 2048 to 4096 bits");
        }
        if exponent.len() > 4 {
            return Err("an RSA exponent over 32 bits is not taken");
        }
        let exponent = exponent.iter().fold(0, |number, byte| number << 8 | u32::from(*byte));
        if exponent < 3 || exponent % 2 == 0 {
            return Err("an RSA exponent must be odd and at least 3");
        }
        let number = number(modulus).ok_or("the RSA modulus is no number")?;
        let odd = Option::<Odd<BoxedUint>>::from(Odd::new(number)).ok_or("an RSA modulus must be odd")?;
        Ok(Self { modulus: BoxedMontyParams::new_vartime(odd), exponent, bytes: modulus.len() })
    }

    /// Whether `signature` is this key's for a digest.
    pub(super) fn verifies(&self, digest: &[u8], signature: &[u8]) -> bool {
        let modulus: &BoxedUint = self.modulus.modulus().as_ref();
        let number = (signature.len() == self.bytes).then(|| number(signature)).flatten();
        let Some(number) = number.filter(|number| number < modulus) else { return false };
        let raised = self.raised(number).to_be_bytes();
        // Whole words: the modulus may have fewer bytes.
        let (above, block) = raised.split_at(raised.len().saturating_sub(self.bytes));
        above.iter().all(|byte| *byte == 0) && block == self.block(digest)
    }

    // To the public exponent, by squaring; 17 multiplications for 65537.
    fn raised(&self, number: BoxedUint) -> BoxedUint {
        let base = BoxedMontyForm::new(number, &self.modulus);
        let mut power = base.clone();
        for bit in (0..self.exponent.ilog2()).rev() {
            power = power.square();
            if self.exponent >> bit & 1 == 1 {
                power = power.mul(&base);
            }
        }
        power.retrieve()
    }

    // 0x00 0x01, 0xff to fill, 0x00, DigestInfo.
    fn block(&self, digest: &[u8]) -> Vec<u8> {
        let mut block = vec![0xff; self.bytes];
        let info = self.bytes - DIGEST_INFO.len() - digest.len();
        (block[0], block[1], block[info - 1]) = (0, 1, 0);
        block[info..info + DIGEST_INFO.len()].copy_from_slice(&DIGEST_INFO);
        block[info + DIGEST_INFO.len()..].copy_from_slice(digest);
        block
    }
}

// With the precision of as many bytes: modulus and signature have the same.
fn number(bytes: &[u8]) -> Option<BoxedUint> {
    BoxedUint::from_be_slice(bytes, u32::try_from(bytes.len() * 8).ok()?).ok()
}

fn trimmed(bytes: &[u8]) -> &[u8] {
    &bytes[bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len())..]
}
