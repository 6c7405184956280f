//! Which content coding a client likes best (RFC 9110 section 12.5.3).

use crate::config::spec::Coding;

/// The one of `offered` (the dearest to us first) that the client gives the greatest weight; `None` where it would rather
/// have none.
pub(super) fn best<'a>(accepted: impl Iterator<Item = &'a str>, offered: &[Coding]) -> Option<Coding> {
    let (mut weights, mut rest, mut identity) = ([None; Coding::ALL.len()], None, None);
    for element in accepted.flat_map(|text| text.split(',')) {
        let mut parts = element.split(';');
        let name = parts.next().unwrap_or_default().trim();
        let Some(weight) = weight(parts) else { continue };
        let known =
            Coding::ALL.iter().position(|coding| coding.names().iter().any(|own| own.eq_ignore_ascii_case(name)));
        match known {
            Some(position) => weights[position] = Some(weight),
            None if name == "*" => rest = Some(weight),
            None if name.eq_ignore_ascii_case("identity") => identity = Some(weight),
            None => {}
        }
    }
    let weight_of = |coding: &Coding| weights[*coding as usize].or(rest).unwrap_or(0);
    // The first of equals.
    let best = offered.iter().rev().max_by_key(|coding| weight_of(coding))?;
    let weight = weight_of(best);
    (weight > 0 && weight >= identity.unwrap_or(0)).then_some(*best)
}

// In thousandths; `None` where it is malformed, and the element with it.
fn weight<'a>(parameters: impl Iterator<Item = &'a str>) -> Option<u16> {
    for parameter in parameters {
        let (name, value) = parameter.split_once('=')?;
        if !name.trim().eq_ignore_ascii_case("q") {
            continue;
        }
        let (whole, fraction) = value.trim().split_once('.').unwrap_or((value.trim(), ""));
        let thousandths = format!("{fraction:0<3}");
        let valid = thousandths.len() == 3 && thousandths.bytes().all(|byte| byte.is_ascii_digit());
        let fraction = valid.then(|| thousandths.parse::<u16>().ok()).flatten()?;
        return match (whole, fraction) {
            ("1", 0) => Some(1000),
            ("0", fraction) => Some(fraction),
            _ => None,
        };
    }
    Some(1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_greatest_weight_wins_and_then_our_own_order() {
        use Coding::{Brotli, Gzip, Zstd};
        let all = [Zstd, Brotli, Gzip];
        let cases: [(&[&str], Option<Coding>); 21] = [
            (&[], None),
            (&[""], None),
            (&["gzip"], Some(Gzip)),
            (&["x-gzip"], Some(Gzip)),
            (&["GZIP, deflate, br"], Some(Brotli)),
            (&["gzip, br, zstd"], Some(Zstd)),
            (&["gzip", "br"], Some(Brotli)),
            (&["gzip;q=1.0, br;q=0.9"], Some(Gzip)),
            (&["gzip; q=0.5 , br ; q=0.50"], Some(Brotli)),
            (&["*"], Some(Zstd)),
            (&["zstd;q=0, *"], Some(Brotli)),
            (&["*;q=0"], None),
            (&["gzip;q=0"], None),
            (&["gzip;q=0.001"], Some(Gzip)),
            (&["identity"], None),
            (&["identity, gzip;q=0.5"], None),
            (&["identity;q=0.5, gzip"], Some(Gzip)),
            (&["gzip;q=2"], None),
            (&["gzip;q=0.1234"], None),
            (&["gzip;q=x, br"], Some(Brotli)),
            (&["deflate, compress"], None),
        ];
        for (accepted, expected) in cases {
            assert_eq!(best(accepted.iter().copied(), &all), expected, "{accepted:?}");
        }
        assert_eq!(best(["br, gzip"].into_iter(), &[Gzip]), Some(Gzip));
        assert_eq!(best(["br"].into_iter(), &[Gzip]), None);
    }
}
