//! Which known name an unknown one was probably meant to be. Knows nothing of what is named.

/// The known name nearest to `name`, where one is near enough to be a slip of the hand.
pub(crate) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |text: &str| text.to_lowercase().replace('_', "-");
    let wanted = plain(name);
    let near = |candidate: &&str| {
        let candidate = plain(candidate);
        let distance = strsim::damerau_levenshtein(&wanted, &candidate);
        let longest = wanted.chars().count().max(candidate.chars().count());
        (distance * 3 <= longest).then_some(distance)
    };
    known.filter_map(|candidate| Some((near(&candidate)?, candidate))).min().map(|(_, candidate)| candidate)
}

/// Names as a list for a message, the first thirty of them.
pub(crate) fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let mut names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
    let more = names.len().saturating_sub(LISTED_MAX);
    names.truncate(LISTED_MAX);
    match (names.len(), more) {
        (0, _) => "none".into(),
        (_, 0) => names.join(", "),
        (_, more) => format!("{} and {more} more", names.join(", ")),
    }
}

const LISTED_MAX: usize = 30;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_recognised_and_other_words_are_not() {
        for (name, expected) in [
            ("adress", Some("address")),
            ("head_bytes_max", Some("head-bytes-max")),
            ("Listeners", Some("listeners")),
            ("bananas", None),
            ("", None),
        ] {
            assert_eq!(nearest(name, ["address", "head-bytes-max", "listeners"].into_iter()), expected, "{name}");
        }
    }
}
