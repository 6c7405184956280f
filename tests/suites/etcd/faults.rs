//! The fault matrix, a row a fault: what it is, with which etcd, what it is counted as. For each: requests go on, the
//! fault is seen by its kind, and what is written afterwards is served soon after the fault's end.

use std::time::{Duration, Instant};

use tidegate::{
    etcd::{Op, Options, Range},
    source::etcd::EtcdSource,
};
use tidegate_tests::{
    Gateway, WEB,
    etcd::{Fake, Misbehaviour, Setup, Whom},
    soon,
};

use super::stage::{PREFIX, READER, Stage, quick};

/// What befalls etcd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Killed,
    Stopped,
    Cut,
    Wiped,
    SetBack,
    SetBackAndAhead,
    Compacted,
    CompactedUnchanged,
    LeaderMoved,
    MemberKilled,
    MemberIsolated,
    MajorityStopped,
    TokenExpired,
    TokenRevoked,
    PasswordChanged,
    PermissionRevoked,
    CertificatesRotated,
    Emptied,
    BadDocument,
}

/// A row of the matrix.
struct Row {
    fault: Fault,
    members: usize,
    users: bool,
    tls: bool,
    /// The kinds that the metric counts it under, one of them at least.
    counted: &'static [&'static str],
    /// The kinds that status and readiness call it, where it is seen until it ends.
    trouble: &'static [&'static str],
}

const ONE: Row = Row { fault: Fault::Killed, members: 1, users: false, tls: false, counted: &[], trouble: &[] };

macro_rules! matrix {
    ($($name:ident: $fault:ident { $($field:ident: $value:expr),* };)*) => {$(
        #[tokio::test]
        async fn $name() {
            run(Row { fault: Fault::$fault, $($field: $value,)* ..ONE }).await;
        }
    )*};
}

matrix! {
    killed_and_started_again: Killed { counted: &["network"], trouble: &["network", "timeout"] };
    stopped_half_open: Stopped { counted: &["timeout", "network"], trouble: &["timeout", "network"] };
    cut_off_from_the_gateway: Cut { counted: &["network"], trouble: &["network", "timeout"] };
    wiped: Wiped { counted: &["backwards"], trouble: &["network", "timeout"] };
    set_back_to_an_older_state: SetBack { counted: &["backwards"], trouble: &["network", "timeout"] };
    set_back_and_written_beyond_where_it_was: SetBackAndAhead { counted: &["network"], trouble: &["network", "timeout"] };
    compacted_past_our_revision: Compacted { counted: &["compacted"], trouble: &[] };
    compacted_and_nothing_changed: CompactedUnchanged { counted: &["compacted"], trouble: &[] };
    the_leader_changes: LeaderMoved { members: 3 };
    a_member_is_killed: MemberKilled { members: 3, counted: &["network", "closed", "unavailable"] };
    a_member_is_isolated: MemberIsolated { members: 3, counted: &["unavailable", "timeout", "network"] };
    a_majority_stops: MajorityStopped { members: 3, counted: &["unavailable", "timeout", "network"],
        trouble: &["unavailable", "timeout", "network"] };
    a_token_expires: TokenExpired { users: true };
    a_token_is_revoked: TokenRevoked { users: true };
    the_password_is_changed: PasswordChanged { users: true, counted: &["credentials"], trouble: &["credentials"] };
    the_permission_is_revoked: PermissionRevoked { users: true, counted: &["permission"], trouble: &["permission"] };
    certificates_are_rotated: CertificatesRotated { tls: true, counted: &["network", "tls", "timeout"] };
    every_key_is_deleted: Emptied { counted: &["empty"], trouble: &["empty"] };
    a_document_is_bad: BadDocument {};
}

#[tokio::test]
async fn a_watch_that_closes_is_cancelled_or_falls_silent_is_opened_again_and_counted_as_what_it_was() {
    for (how, kind) in [
        (Misbehaviour::Closes, "closed"),
        (Misbehaviour::IsCancelled, "cancelled"),
        (Misbehaviour::FallsSilent, "silent"),
    ] {
        let route = "routes: [{id: all, path: /*, middleware: [{respond: {status: 200, body: here}}]}]\n";
        let etcd = Fake::start(how, "/gw/gateway.yaml", &format!("{WEB}{route}")).await;
        let endpoints = vec![etcd.address().to_string()];
        let request_timeout = Duration::from_millis(300);
        let source = EtcdSource::new(quick(Options { endpoints, request_timeout, ..Options::default() }));
        let gateway = Gateway::over(vec![Box::new(source)]).await.unwrap_or_else(|why| panic!("{why}"));
        let labels = format!("kind=\"{kind}\"");
        let counted = async || gateway.metric("tidegate_source_failures_total", &labels).await == 1.0;
        soon(&format!("{how:?} is counted as {kind}"), counted).await;
        soon("the watch is open again", async || etcd.watches() == 2).await;
        soon("the source is well", async || gateway.metric("tidegate_source_healthy", "").await == 1.0).await;
        assert_eq!(gateway.status().await["generation"], 1);
        assert_eq!(gateway.http1().await.get("/").await.text(), "here");
    }
}

async fn run(row: Row) {
    let ttl = if row.fault == Fault::TokenExpired { 1 } else { 300 };
    let setup = Setup { members: row.members, tls: row.tls, token_ttl_s: ttl, ..Setup::default() };
    // Quicker than any operator could set an etcd back.
    let resume_max = Duration::from_secs(if row.fault == Fault::SetBackAndAhead { 0 } else { 5 });
    let mut stage = Stage::resuming(setup, row.users, resume_max).await;
    let edit = stage.write().await;
    stage.serves(edit).await;
    stage.is_well().await;

    stage.strike(row.fault).await;
    if !row.trouble.is_empty() {
        stage.is_in_trouble(row.trouble).await;
    }
    let ended = Instant::now();
    stage.end_of(row.fault).await;
    let edit = stage.write().await;
    stage.serves(edit).await;
    println!("{:?}: {} ms from the fault's end to a new edit served", row.fault, ended.elapsed().as_millis());
    stage.is_well().await;

    let mut counted = Vec::new();
    for kind in row.counted {
        counted.push((kind, stage.failures(kind).await));
    }
    assert!(row.counted.is_empty() || counted.iter().any(|(_, count)| *count > 0), "{:?}: {counted:?}", row.fault);
    stage.check(row.fault).await;
    stage.end().await;
}

impl Stage {
    /// The fault begins.
    async fn strike(&mut self, fault: Fault) {
        match fault {
            Fault::Killed => self.etcd.member(0).kill(),
            Fault::Stopped => self.etcd.members()[0].stop(),
            Fault::Cut => self.wire.cut(Whom::Everyone),
            Fault::Wiped => {
                self.etcd.member(0).kill();
                self.etcd.members()[0].wipe();
            }
            Fault::SetBack | Fault::SetBackAndAhead => self.set_back().await,
            Fault::Compacted => self.compact(true).await,
            Fault::CompactedUnchanged => self.compact(false).await,
            Fault::LeaderMoved => {
                let to = (self.etcd.leader().await + 1) % 3;
                self.etcd.move_leader(to).await;
            }
            Fault::MemberKilled => {
                let watched = self.watched().await;
                self.etcd.member(watched).kill();
                self.goes_on_elsewhere(watched).await;
            }
            Fault::MemberIsolated => {
                let watched = self.watched().await;
                self.etcd.isolate(watched);
                self.goes_on_elsewhere(watched).await;
            }
            Fault::MajorityStopped => {
                let watched = self.watched().await;
                (0..3).filter(|number| *number != watched).for_each(|number| self.etcd.members()[number].stop());
            }
            Fault::TokenExpired => {
                let deleted = |line: &str| line.contains("deleted a simple token") && line.contains(READER);
                let expired = async || self.etcd.members()[0].log().lines().any(deleted);
                soon("the token that nobody uses expires", expired).await;
                self.reconnect().await;
            }
            Fault::TokenRevoked => {
                // A new password ends every token of the user.
                self.etcd.change_password(READER, "second").await;
                std::fs::write(self.password_file(), "second").unwrap();
                self.reconnect().await;
            }
            Fault::PasswordChanged => {
                self.etcd.change_password(READER, "second").await;
                self.reconnect().await;
            }
            Fault::PermissionRevoked => {
                self.etcd.revoke(READER, PREFIX).await;
                self.reconnect().await;
            }
            Fault::CertificatesRotated => {
                self.etcd.certificates().rotate();
                self.etcd.member(0).kill();
            }
            Fault::Emptied => {
                self.client.delete(&Range::prefix(PREFIX)).await.unwrap();
            }
            Fault::BadDocument => {
                let key = format!("{PREFIX}bad.yaml");
                self.client.txn(Vec::new(), vec![Op::put(key, "routes: [{")], Vec::new()).await.unwrap();
                let refused = async || self.gateway.status().await["last_attempt"]["outcome"] == "refused";
                soon("the bad document is refused", refused).await;
            }
        }
    }

    /// Serves an edit that etcd forgets.
    async fn set_back(&mut self) {
        self.etcd.member(0).kill();
        self.etcd.members()[0].save("older");
        self.etcd.member(0).restart();
        self.etcd.answers().await;
        let edit = self.write().await;
        self.serves(edit).await;
        self.etcd.member(0).kill();
        self.etcd.members()[0].set_back("older");
    }

    /// While the gateway is cut off, etcd goes on and forgets the revisions in between.
    async fn compact(&mut self, with_an_edit: bool) {
        self.wire.cut(Whom::Everyone);
        let last = if with_an_edit { self.write().await } else { self.edit };
        // What is compacted away is what comes before the revision named: the first of these two.
        self.client.put("elsewhere", last.to_string()).await.unwrap();
        let revision = self.client.put("elsewhere", last.to_string()).await.unwrap();
        self.etcd.compact(revision).await;
    }

    /// The fault ends.
    async fn end_of(&mut self, fault: Fault) {
        match fault {
            Fault::Killed | Fault::CertificatesRotated | Fault::SetBackAndAhead => {
                self.etcd.member(0).restart();
                if fault == Fault::SetBackAndAhead {
                    // Before the gateway sees it: more revisions than it has seen of the other history.
                    for number in 0..20 {
                        let put = async || self.client.put("elsewhere", number.to_string()).await.is_ok();
                        soon("etcd takes writes", put).await;
                    }
                }
            }
            Fault::Wiped => {
                self.etcd.member(0).restart();
                self.is_in_trouble(&["empty"]).await;
            }
            Fault::SetBack => {
                self.etcd.member(0).restart();
                self.serves(self.edit - 1).await;
            }
            Fault::Stopped => self.etcd.members()[0].go_on(),
            Fault::Cut | Fault::Compacted => self.wire.mend(),
            Fault::CompactedUnchanged => {
                let generation = self.gateway.status().await["generation"].clone();
                self.wire.mend();
                self.is_well().await;
                soon("the compaction is seen", async || self.failures("compacted").await > 0).await;
                self.is_well().await;
                assert_eq!(self.gateway.status().await["generation"], generation, "an equal tree swaps nothing");
            }
            Fault::MemberKilled => {
                let dead: Vec<_> = (0..3).filter(|number| !self.etcd.members()[*number].runs()).collect();
                dead.into_iter().for_each(|number| self.etcd.member(number).restart());
            }
            Fault::MemberIsolated => self.etcd.heal(),
            Fault::MajorityStopped => self.etcd.members().iter().for_each(|member| member.go_on()),
            Fault::PasswordChanged => std::fs::write(self.password_file(), "second").unwrap(),
            Fault::PermissionRevoked => self.etcd.grant(READER, PREFIX).await,
            Fault::BadDocument => {
                let key = format!("{PREFIX}bad.yaml");
                self.client.delete(&Range::key(key)).await.unwrap();
            }
            Fault::LeaderMoved | Fault::TokenExpired | Fault::TokenRevoked | Fault::Emptied => {}
        }
    }

    /// What else must hold in the end.
    async fn check(&self, fault: Fault) {
        let authentications = self.gateway.metric("tidegate_source_authentications_total", "").await;
        match fault {
            Fault::TokenExpired | Fault::TokenRevoked => {
                assert_eq!(authentications, 2.0, "one token, and one that replaced it");
                assert_eq!(self.failures("token").await + self.failures("permission").await, 0);
            }
            Fault::PermissionRevoked => {
                let (refusals, watches) = (self.failures("permission").await, authentications);
                assert!(refusals < 100 && watches < 100.0, "a storm: {refusals} refusals, {watches} tokens");
            }
            Fault::BadDocument => {
                let refused = self.gateway.metric("tidegate_reloads_total", "outcome=\"refused\"").await;
                assert!(refused >= 1.0);
            }
            _ => {}
        }
    }

    /// Whoever follows another member serves what is written while one is away.
    async fn goes_on_elsewhere(&mut self, away: usize) {
        let edit = self.write().await;
        self.serves(edit).await;
        assert_ne!(self.watched().await, away);
    }

    /// Breaks the gateway's connection, once.
    async fn reconnect(&self) {
        let watches = async || self.gateway.metric("tidegate_source_watches_total", "").await;
        let before = watches().await;
        self.wire.cut(Whom::Everyone);
        soon("the connection is lost", async || self.failures("network").await > 0).await;
        self.wire.mend();
        soon("it is tried again", async || {
            watches().await > before || self.failures("credentials").await + self.failures("permission").await > 0
        })
        .await;
    }
}
