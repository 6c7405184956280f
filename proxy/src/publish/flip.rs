//! The flip: all changes of a push as one transaction, which takes effect only if the prefix is still what it was. Larger
//! ones than etcd takes in one list are lists within the list, and still one transaction and one revision.

use bytes::Bytes;

use super::{prefix::Prefix, push::Limits, remote::Remote};
use crate::etcd::{Answer, Client, Compare, Kind, Op, Range, Relation};

/// What is to be written and deleted, by key.
#[derive(Clone, Debug, Default)]
pub(super) struct Flip {
    pub(super) puts: Vec<(String, Bytes)>,
    pub(super) deletes: Vec<String>,
    /// Keys among the puts that are new.
    pub(super) added: usize,
}

/// What came of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It is written, as this revision. So many keys are gone that nobody of us deleted.
    Done { revision: i64, lost: i64 },
    /// The prefix is not what it was: nothing is written.
    Changed,
}

/// Steps of the transaction besides the changes: the mark, and the count of both ranges.
const OWN_STEPS: usize = 3;

/// Up to so many keys, each is compared by itself, so that a deletion is seen as well; the rest of etcd's allowance is for
/// changes.
const COMPARED_SINGLY_MAX: usize = 40;
const COMPARES_MAX: usize = COMPARED_SINGLY_MAX + 2;

impl Flip {
    pub(super) fn count(&self) -> usize {
        self.puts.len() + self.deletes.len()
    }

    /// Carries it out on what `remote` is. `mark` is left behind for the next push to see.
    ///
    /// # Errors
    /// In words, where etcd refuses it, or does not answer: then nothing is known of it but what the prefix says.
    pub(super) async fn carry_out(
        &self,
        client: &Client,
        prefix: &Prefix,
        remote: &Remote,
        mark: &Bytes,
        limits: Limits,
    ) -> Result<Outcome, String> {
        let keys = (remote.keys + self.added + usize::from(remote.mark.1 == 0)) as i64 - self.deletes.len() as i64;
        let mut steps = self.steps(limits.txn_ops_max).ok_or_else(|| limits.too_many(self.count()))?;
        steps.push(Op::put(prefix.push_mark(), mark.clone()));
        steps.extend(prefix.documents().map(|range| Op::Range(range.count_only())));
        match client.txn(compares(prefix, remote), steps, Vec::new()).await {
            Ok(answer) if !answer.succeeded => Ok(Outcome::Changed),
            Ok(answer) => {
                let count = |answer: &Answer| if let Answer::Range(page) = answer { page.count } else { 0 };
                let there: i64 = answer.answers.iter().map(count).sum();
                Ok(Outcome::Done { revision: answer.header.revision, lost: keys - there })
            }
            // It may have been taken all the same: the mark says so.
            Err(error) if error.is_passing() => {
                let found = client.range(&Range::key(prefix.push_mark())).await.map_err(|_| unknown(&error))?;
                match found.kvs.first().filter(|kv| kv.value == *mark) {
                    Some(kv) => Ok(Outcome::Done { revision: kv.mod_revision, lost: 0 }),
                    None => Err(unknown(&error)),
                }
            }
            Err(error) if error.to_string().contains("too many operations") => Err(format!(
                "{prefix} was not changed: its etcd takes fewer steps in a transaction than {}; give its own \
                 `--max-txn-ops` to `tidegate push --max-txn-ops`",
                limits.txn_ops_max
            )),
            Err(error) if error.kind == Kind::TooLarge => Err(format!(
                "{prefix} was not changed: its etcd takes smaller requests than {} bytes ({error}); give its own \
                 `--max-request-bytes` to `tidegate push --max-request-bytes`",
                limits.request_bytes_max
            )),
            Err(error) => Err(format!("{prefix} was not changed: {error}")),
        }
    }

    // All changes as one list, or in lists within the list where they are too many for one.
    fn steps(&self, ops_max: usize) -> Option<Vec<Op>> {
        let puts = self.puts.iter().map(|(key, value)| Op::put(key.clone(), value.clone()));
        let deletes = self.deletes.iter().map(|key| Op::Delete(Range::key(key.clone())));
        let depth = depth(self.count(), ops_max)?;
        Some(nested(puts.chain(deletes).collect(), Allowance::outermost(ops_max, depth), depth))
    }
}

/// The most levels of lists below the outermost: with three lists in all, a request's bytes are what limits a flip.
const DEPTH_MAX: usize = 2;

// What etcd takes: a list of so many steps, and as many in each list within as the longest list around it leaves.
#[derive(Clone, Copy)]
struct Allowance {
    steps: usize,
    within: usize,
}

impl Allowance {
    // An even share for each level; what has to be compared counts where it is more than the steps beside it.
    fn outermost(ops_max: usize, depth: usize) -> Self {
        let share = (ops_max / (depth + 1)).max(COMPARES_MAX.min(ops_max));
        Self { steps: share.saturating_sub(OWN_STEPS), within: ops_max - share }
    }

    fn next(self, depth: usize) -> Self {
        let share = self.within / depth.max(1);
        Self { steps: share, within: self.within - share }
    }
}

fn nested(changes: Vec<Op>, allowance: Allowance, depth: usize) -> Vec<Op> {
    if depth == 0 {
        return changes;
    }
    let size = changes.len().div_ceil(allowance.steps);
    let mut lists = Vec::new();
    let mut rest = changes.into_iter();
    while rest.len() > 0 {
        let then = nested(rest.by_ref().take(size).collect(), allowance.next(depth), depth - 1);
        lists.push(Op::Txn { compares: Vec::new(), then, otherwise: Vec::new() });
    }
    lists
}

// How many changes fit into lists on so many levels.
fn capacity(ops_max: usize, depth: usize) -> usize {
    let mut allowance = Allowance::outermost(ops_max, depth);
    let mut capacity = allowance.steps;
    for level in (1..=depth).rev() {
        allowance = allowance.next(level);
        capacity = capacity.saturating_mul(allowance.steps);
    }
    capacity
}

// The fewest levels that so many changes fit into, with an etcd that takes so many steps.
fn depth(changes: usize, ops_max: usize) -> Option<usize> {
    (0..=DEPTH_MAX).find(|depth| capacity(ops_max, *depth) >= changes)
}

/// Whether so many changes fit into one transaction of an etcd that takes so many steps.
pub(super) fn fits(changes: usize, ops_max: usize) -> bool {
    depth(changes, ops_max).is_some()
}

/// The most changes that fit.
pub(super) fn changes_max(ops_max: usize) -> usize {
    (0..=DEPTH_MAX).map(|depth| capacity(ops_max, depth)).max().unwrap_or(0)
}

// Nothing was written since, by the revisions of what is there; where that is little, nothing was deleted either.
fn compares(prefix: &Prefix, remote: &Remote) -> Vec<Compare> {
    let mut compares = prefix.unchanged_since(remote.revision).to_vec();
    if remote.entries.len() <= COMPARED_SINGLY_MAX {
        compares.extend(
            remote
                .entries
                .iter()
                .map(|(path, held)| Compare::mod_revision(prefix.key(path), Relation::Equal, held.mod_revision)),
        );
    }
    compares
}

fn unknown(error: &crate::etcd::Error) -> String {
    format!("it is not known whether the prefix was changed: {error}; push again, which changes nothing twice")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_takes_tens_of_thousands_of_changes_within_etcds_allowance() {
        assert_eq!((capacity(128, 0), capacity(128, 1), capacity(128, 2)), (125, 61 * 64, 39 * 43 * 43));
        for (changes, expected) in [(0, Some(0)), (125, Some(0)), (126, Some(1)), (3_905, Some(2)), (72_112, None)] {
            assert_eq!(depth(changes, 128), expected, "{changes}");
        }
        assert_eq!(changes_max(128), 72_111);
        assert!(fits(changes_max(64), 64) && !fits(changes_max(64) + 1, 64));
        assert!(changes_max(10_000) > 20_000_000);
    }

    // How many steps etcd counts on the way to the deepest list: the longest at each level.
    fn counted(steps: &[Op]) -> usize {
        let within = steps.iter().map(|step| if let Op::Txn { then, .. } = step { counted(then) } else { 0 });
        steps.len() + within.max().unwrap_or(0)
    }

    fn changes(steps: &[Op]) -> usize {
        steps.iter().map(|step| if let Op::Txn { then, .. } = step { changes(then) } else { 1 }).sum()
    }

    #[test]
    fn every_list_keeps_to_the_allowance_that_those_around_it_leave() {
        for ops_max in [64, 128, 1_000] {
            for count in [1, 125, 126, 500, 3_000, 3_904, 3_905, 20_000, changes_max(ops_max).min(72_111)] {
                let puts = (0..count).map(|number| (format!("/gw/{number}"), Bytes::new())).collect();
                let Some(steps) = (Flip { puts, ..Flip::default() }).steps(ops_max) else {
                    assert!(count > changes_max(ops_max));
                    continue;
                };
                let outermost = (steps.len() + OWN_STEPS).max(COMPARES_MAX);
                let within = counted(&steps) - steps.len();
                assert!(outermost + within <= ops_max, "{count} with {ops_max}: {outermost} + {within}");
                assert_eq!(changes(&steps), count);
            }
        }
    }
}
