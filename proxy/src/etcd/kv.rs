//! Keys and values: what is asked for and what is answered, in our own types. Knows the wire's types, and no
//! connection.

use bytes::Bytes;

use super::wire;

/// What every answer says of the cluster that gave it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// The cluster.
    pub cluster: u64,
    /// The member.
    pub member: u64,
    /// The revision of the whole key space when it answered.
    pub revision: i64,
    /// Counts elections: a restored or restarted cluster has another one.
    pub term: u64,
}

/// One key with its value. Both may be slices of a larger answer, which they keep in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyValue {
    /// The key.
    pub key: Bytes,
    /// Its value; empty where only keys were asked for, and for what is deleted.
    pub value: Bytes,
    /// The revision that created it.
    pub create_revision: i64,
    /// The revision that changed it last.
    pub mod_revision: i64,
    /// How often it was put since it was created.
    pub version: i64,
    /// The lease that it goes with; 0 for none.
    pub lease: i64,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A key has this value now.
    Put(KeyValue),
    /// A key is gone; `mod_revision` is the revision that deleted it.
    Delete(KeyValue),
}

/// Which keys, and how. Made by [`Range::key`], [`Range::prefix`] or [`Range::between`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    pub(super) key: Vec<u8>,
    pub(super) end: Vec<u8>,
    pub(super) revision: i64,
    pub(super) limit: i64,
    pub(super) keys_only: bool,
    pub(super) count_only: bool,
}

/// The answer to a range.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Who answered; its revision is the present one, also where an older one was asked for.
    pub header: Header,
    /// By key.
    pub kvs: Vec<KeyValue>,
    /// Whether there are more keys than the limit.
    pub more: bool,
    /// How many keys there are, the limit aside.
    pub count: i64,
}

/// Something that must hold for a transaction to take its first branch.
#[derive(Clone, Debug)]
pub struct Compare {
    key: Vec<u8>,
    end: Vec<u8>,
    relation: Relation,
    target: Target,
}

/// How the key's property relates to the value given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// `=`
    Equal,
    /// `≠`
    NotEqual,
    /// `>`
    Greater,
    /// `<`
    Less,
}

#[derive(Clone, Debug)]
enum Target {
    Version(i64),
    Create(i64),
    Mod(i64),
    Value(Bytes),
    Lease(i64),
}

/// One step of a transaction.
#[derive(Clone, Debug)]
pub enum Op {
    /// Read.
    Range(Range),
    /// Write one key, under a lease or none (0).
    Put {
        /// The key.
        key: Bytes,
        /// Its value.
        value: Bytes,
        /// A lease, or 0.
        lease: i64,
    },
    /// Delete these keys.
    Delete(Range),
    /// A transaction within this one: what it does is part of the same revision. A list within may be as long as the
    /// server's `--max-txn-ops` leaves after the longest list around it.
    Txn {
        /// What must hold for the first branch.
        compares: Vec<Compare>,
        /// The first branch.
        then: Vec<Self>,
        /// The other one.
        otherwise: Vec<Self>,
    },
}

/// The answer to a transaction.
#[derive(Clone, Debug)]
pub struct Committed {
    /// Its revision is the one that the transaction made, if it wrote anything.
    pub header: Header,
    /// Whether the comparisons held.
    pub succeeded: bool,
    /// One for each step of the branch that was taken.
    pub answers: Vec<Answer>,
}

/// The answer to one step of a transaction.
#[derive(Clone, Debug)]
pub enum Answer {
    /// What was read.
    Range(Page),
    /// Written.
    Put,
    /// How many keys were deleted.
    Delete(i64),
    /// What came of a transaction within; its header says nothing.
    Txn(Box<Committed>),
}

impl Range {
    /// One key.
    pub fn key(key: impl Into<Vec<u8>>) -> Self {
        Self { key: key.into(), end: Vec::new(), revision: 0, limit: 0, keys_only: false, count_only: false }
    }

    /// Every key that begins with `prefix`; every key there is for an empty one.
    pub fn prefix(prefix: impl Into<Vec<u8>>) -> Self {
        let prefix = prefix.into();
        let end = after(&prefix);
        let key = if prefix.is_empty() { vec![0] } else { prefix };
        Self { end, ..Self::key(key) }
    }

    /// Every key from `key` on that is below `end`.
    pub fn between(key: impl Into<Vec<u8>>, end: impl Into<Vec<u8>>) -> Self {
        Self { end: end.into(), ..Self::key(key) }
    }

    /// As they were at a revision; 0 is now.
    #[must_use]
    pub const fn at(mut self, revision: i64) -> Self {
        self.revision = revision;
        self
    }

    /// Only so many, by key; 0 is all.
    #[must_use]
    pub const fn limit(mut self, limit: i64) -> Self {
        self.limit = limit;
        self
    }

    /// Without their values.
    #[must_use]
    pub const fn keys_only(mut self) -> Self {
        self.keys_only = true;
        self
    }

    /// Only how many there are.
    #[must_use]
    pub const fn count_only(mut self) -> Self {
        self.count_only = true;
        self
    }
}

impl Compare {
    /// Of the revision that changed the key last; 0 for a key that is not there.
    pub fn mod_revision(key: impl Into<Vec<u8>>, relation: Relation, revision: i64) -> Self {
        Self { key: key.into(), end: Vec::new(), relation, target: Target::Mod(revision) }
    }

    /// Of the revision that created the key; 0 for a key that is not there.
    pub fn create_revision(key: impl Into<Vec<u8>>, relation: Relation, revision: i64) -> Self {
        Self { key: key.into(), end: Vec::new(), relation, target: Target::Create(revision) }
    }

    /// Of how often the key was put; 0 for a key that is not there.
    pub fn version(key: impl Into<Vec<u8>>, relation: Relation, version: i64) -> Self {
        Self { key: key.into(), end: Vec::new(), relation, target: Target::Version(version) }
    }

    /// Of the key's value. Never holds for a key that is not there.
    pub fn value(key: impl Into<Vec<u8>>, relation: Relation, value: impl Into<Bytes>) -> Self {
        Self { key: key.into(), end: Vec::new(), relation, target: Target::Value(value.into()) }
    }

    /// Of the key's lease; 0 for none.
    pub fn lease(key: impl Into<Vec<u8>>, relation: Relation, lease: i64) -> Self {
        Self { key: key.into(), end: Vec::new(), relation, target: Target::Lease(lease) }
    }

    /// The same of every key that begins with this one's: holds where it holds for all of them, so also for none.
    #[must_use]
    pub fn for_prefix(mut self) -> Self {
        self.end = after(&self.key);
        self
    }

    /// The same of every key from this one on that is below `end`.
    #[must_use]
    pub fn until(mut self, end: impl Into<Vec<u8>>) -> Self {
        self.end = end.into();
        self
    }

    pub(super) fn wire(self) -> wire::Compare {
        use wire::compare::{CompareResult, CompareTarget, TargetUnion};
        let (target, union) = match self.target {
            Target::Version(version) => (CompareTarget::Version, TargetUnion::Version(version)),
            Target::Create(revision) => (CompareTarget::Create, TargetUnion::CreateRevision(revision)),
            Target::Mod(revision) => (CompareTarget::Mod, TargetUnion::ModRevision(revision)),
            Target::Value(value) => (CompareTarget::Value, TargetUnion::Value(value)),
            Target::Lease(lease) => (CompareTarget::Lease, TargetUnion::Lease(lease)),
        };
        let result = match self.relation {
            Relation::Equal => CompareResult::Equal,
            Relation::NotEqual => CompareResult::NotEqual,
            Relation::Greater => CompareResult::Greater,
            Relation::Less => CompareResult::Less,
        };
        wire::Compare {
            result: result.into(),
            target: target.into(),
            key: self.key.into(),
            target_union: Some(union),
            range_end: self.end.into(),
        }
    }
}

impl Op {
    /// Writes a key that goes with no lease.
    pub fn put(key: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        Self::Put { key: key.into(), value: value.into(), lease: 0 }
    }

    pub(super) fn wire(self) -> wire::RequestOp {
        use wire::request_op::Request;
        let request = match self {
            Self::Range(range) => Request::RequestRange(range.wire()),
            Self::Put { key, value, lease } => Request::RequestPut(wire::PutRequest { key, value, lease }),
            Self::Delete(range) => Request::RequestDeleteRange(range.wire_delete()),
            Self::Txn { compares, then, otherwise } => Request::RequestTxn(transaction(compares, then, otherwise)),
        };
        wire::RequestOp { request: Some(request) }
    }
}

impl Range {
    pub(super) fn wire(&self) -> wire::RangeRequest {
        wire::RangeRequest {
            key: self.key.clone().into(),
            range_end: self.end.clone().into(),
            limit: self.limit,
            revision: self.revision,
            serializable: false,
            keys_only: self.keys_only,
            count_only: self.count_only,
        }
    }

    pub(super) fn wire_delete(&self) -> wire::DeleteRangeRequest {
        wire::DeleteRangeRequest { key: self.key.clone().into(), range_end: self.end.clone().into() }
    }
}

impl From<Option<wire::ResponseHeader>> for Header {
    fn from(header: Option<wire::ResponseHeader>) -> Self {
        header.map_or_else(Self::default, |header| Self {
            cluster: header.cluster_id,
            member: header.member_id,
            revision: header.revision,
            term: header.raft_term,
        })
    }
}

impl From<wire::mvccpb::KeyValue> for KeyValue {
    fn from(kv: wire::mvccpb::KeyValue) -> Self {
        Self {
            key: kv.key,
            value: kv.value,
            create_revision: kv.create_revision,
            mod_revision: kv.mod_revision,
            version: kv.version,
            lease: kv.lease,
        }
    }
}

impl From<wire::RangeResponse> for Page {
    fn from(answer: wire::RangeResponse) -> Self {
        Self {
            header: answer.header.into(),
            kvs: answer.kvs.into_iter().map(KeyValue::from).collect(),
            more: answer.more,
            count: answer.count,
        }
    }
}

impl From<wire::TxnResponse> for Committed {
    fn from(answer: wire::TxnResponse) -> Self {
        use wire::response_op::Response;
        let answers = answer.responses.into_iter().filter_map(|answer| {
            Some(match answer.response? {
                Response::ResponseRange(range) => Answer::Range(range.into()),
                Response::ResponsePut(_) => Answer::Put,
                Response::ResponseDeleteRange(deleted) => Answer::Delete(deleted.deleted),
                Response::ResponseTxn(answer) => Answer::Txn(Box::new(answer.into())),
            })
        });
        Self { header: answer.header.into(), succeeded: answer.succeeded, answers: answers.collect() }
    }
}

impl Event {
    pub(super) fn of(event: wire::mvccpb::Event) -> Option<Self> {
        let deleted = event.r#type() == wire::mvccpb::event::EventType::Delete;
        let kv = event.kv?.into();
        Some(if deleted { Self::Delete(kv) } else { Self::Put(kv) })
    }

    /// The key with what is known of it.
    pub const fn kv(&self) -> &KeyValue {
        match self {
            Self::Put(kv) | Self::Delete(kv) => kv,
        }
    }
}

/// A transaction as the wire has it.
pub(super) fn transaction(compares: Vec<Compare>, then: Vec<Op>, otherwise: Vec<Op>) -> wire::TxnRequest {
    wire::TxnRequest {
        compare: compares.into_iter().map(Compare::wire).collect(),
        success: then.into_iter().map(Op::wire).collect(),
        failure: otherwise.into_iter().map(Op::wire).collect(),
    }
}

/// The first key behind all that begin with `prefix`; a zero byte, which etcd takes for the end of the key space, where
/// there is none.
fn after(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.last_mut() {
        if *last < u8::MAX {
            *last += 1;
            return end;
        }
        end.pop();
    }
    vec![0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_prefix_is_the_first_key_behind_it() {
        for (prefix, end) in [(&b"/gw/"[..], &b"/gw0"[..]), (b"a\xff", b"b"), (b"\xff\xff", b"\0"), (b"", b"\0")] {
            assert_eq!(after(prefix), end, "{prefix:?}");
        }
        assert_eq!(Range::prefix("").key, [0]);
    }
}
