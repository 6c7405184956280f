//! The client of etcd against a real one: keys, transactions, watches, leases, users, TLS, and what it says when etcd
//! does not do what it is asked for.

use std::time::Duration;

use tidegate::etcd::{
    Answer, Batch, Client, Compare, Event, Kind, Op, Options, Password, Range, Relation, User, Watch,
};
use tidegate_tests::{
    Etcd,
    etcd::{Setup, Whom, Wire},
    eventually, soon,
};

/// The changes of the next batch that has any.
async fn changes(watch: &mut Watch) -> Vec<Event> {
    let next = async {
        loop {
            if let Batch::Changes(changes) = watch.next().await.unwrap() {
                return changes;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), next).await.expect("a change arrives")
}

fn keys(events: &[Event]) -> Vec<String> {
    events.iter().map(|event| String::from_utf8_lossy(&event.kv().key).into_owned()).collect()
}

#[tokio::test]
async fn what_is_written_is_read_at_its_revision_and_watched_from_there() {
    let etcd = Etcd::start().await;
    let client = etcd.client();
    let first = client.put("/a/1", "one").await.unwrap();
    let mut watch = client.watch(&Range::prefix("/a/"), first + 1).await.unwrap();
    let second = client.put("/a/2", "two").await.unwrap();
    client.put("/b/1", "elsewhere").await.unwrap();
    assert_eq!(client.delete(&Range::key("/a/1")).await.unwrap(), 1);

    let now = client.read(&Range::prefix("/a/")).await.unwrap();
    assert_eq!((now.kvs.len(), &now.kvs[0].value[..], now.header.revision), (1, &b"two"[..], second + 2));
    let then = client.read(&Range::prefix("/a/").at(first)).await.unwrap();
    assert_eq!((then.kvs.len(), &then.kvs[0].value[..]), (1, &b"one"[..]));

    let mut seen = changes(&mut watch).await;
    while seen.len() < 2 {
        seen.extend(changes(&mut watch).await);
    }
    assert!(matches!(&seen[0], Event::Put(kv) if kv.key == "/a/2" && kv.mod_revision == second), "{seen:?}");
    assert!(matches!(&seen[1], Event::Delete(kv) if kv.key == "/a/1" && kv.mod_revision == second + 2), "{seen:?}");
    watch.ask();
    assert!(matches!(watch.next().await.unwrap(), Batch::Alive));
}

#[tokio::test]
async fn a_transaction_is_one_revision_or_nothing() {
    let etcd = Etcd::start().await;
    let client = etcd.client();
    let absent = || Compare::create_revision("/t/a", Relation::Equal, 0);
    let puts = || vec![Op::put("/t/a", "1"), Op::put("/t/b", "1"), Op::Range(Range::prefix("/t/"))];
    let done = client.txn(vec![absent()], puts(), Vec::new()).await.unwrap();
    assert!(done.succeeded);
    let Answer::Range(page) = &done.answers[2] else { panic!("{done:?}") };
    assert!(page.kvs.iter().all(|kv| kv.mod_revision == done.header.revision), "{page:?}");
    let refused = client.txn(vec![absent()], puts(), vec![Op::Range(Range::key("/t/a"))]).await.unwrap();
    assert!(!refused.succeeded && refused.header.revision == done.header.revision);
    let unchanged = Compare::mod_revision("/t/", Relation::Less, done.header.revision + 1).for_prefix();
    assert!(client.txn(vec![unchanged], vec![Op::Delete(Range::prefix("/t/"))], Vec::new()).await.unwrap().succeeded);
}

#[tokio::test]
async fn a_reading_of_many_pages_is_of_one_revision() {
    let etcd = Etcd::start().await;
    let client = etcd.client();
    for group in 0..10 {
        let put = |number| Op::put(format!("/p/{group}/{number:03}"), vec![b'x'; 1000]);
        client.txn(Vec::new(), (0..100).map(put).collect(), Vec::new()).await.unwrap();
    }
    let writer = client.clone();
    let writing = tokio::spawn(async move {
        for round in 0..200 {
            let delete = Op::Delete(Range::key(format!("/p/0/{:03}", round % 100)));
            writer.txn(Vec::new(), vec![delete, Op::put(format!("/p/9/x{round}"), "")], Vec::new()).await.unwrap();
        }
    });
    while !writing.is_finished() {
        let whole = client.read(&Range::prefix("/p/")).await.unwrap();
        let again = client.range(&Range::prefix("/p/").at(whole.header.revision)).await.unwrap();
        assert_eq!(whole.kvs, again.kvs);
    }
    writing.await.unwrap();
}

#[tokio::test]
async fn a_compacted_revision_is_told_with_the_oldest_that_is_there() {
    let etcd = Etcd::start().await;
    let client = etcd.client();
    let first = client.put("/c", "1").await.unwrap();
    let last = client.put("/c", "2").await.unwrap();
    etcd.compact(last).await;
    let error = client.range(&Range::key("/c").at(first)).await.unwrap_err();
    assert!(matches!(error.kind, Kind::Compacted { .. }), "{error}");
    let mut watch = client.watch(&Range::key("/c"), first).await.unwrap();
    let error = watch.next().await.unwrap_err();
    assert_eq!(error.kind, Kind::Compacted { revision: last }, "{error}");
    let error = client.range(&Range::key("/c").at(last + 100)).await.unwrap_err();
    assert_eq!(error.kind, Kind::Future, "{error}");
}

#[tokio::test]
async fn an_answer_beyond_the_limit_is_read_in_smaller_pages() {
    let etcd = Etcd::start().await;
    let client = Client::new(Options { answer_bytes_max: 256 << 10, ..etcd.options() });
    for number in 0..20 {
        client.put(format!("/l/{number:02}"), vec![b'x'; 100 << 10]).await.unwrap();
    }
    let error = client.range(&Range::prefix("/l/")).await.unwrap_err();
    assert_eq!(error.kind, Kind::TooLarge, "{error}");
    assert_eq!(client.read(&Range::prefix("/l/")).await.unwrap().kvs.len(), 20);
    let error = client.put("/l/x", vec![0; 2 << 20]).await.unwrap_err();
    assert_eq!(error.kind, Kind::TooLarge, "{error}");
}

#[tokio::test]
async fn a_lease_takes_its_keys_with_it() {
    let etcd = Etcd::start().await;
    let client = etcd.client();
    let lease = client.lease_grant(60).await.unwrap();
    client.put_with_lease("/lease/a", "1", lease.id).await.unwrap();
    assert_eq!(client.lease_keep_alive(lease.id).await.unwrap().ttl_s, 60);
    let alive = client.lease_time_to_live(lease.id).await.unwrap().unwrap();
    assert!(alive.granted_s == 60 && alive.remaining_s > 30, "{alive:?}");
    assert_eq!(client.range(&Range::key("/lease/a")).await.unwrap().kvs[0].lease, lease.id);
    client.lease_revoke(lease.id).await.unwrap();
    assert_eq!(client.range(&Range::key("/lease/a")).await.unwrap().count, 0);
    assert_eq!(client.lease_time_to_live(lease.id).await.unwrap(), None);
    assert_eq!(client.lease_keep_alive(lease.id).await.unwrap_err().kind, Kind::NotFound);
}

#[tokio::test]
async fn a_token_that_is_not_taken_any_more_is_renewed_once() {
    let mut etcd = Etcd::start().await;
    etcd.enable_auth().await;
    etcd.add_reader("reader", "first", "/gw/").await;
    let file = etcd.folder().join("password");
    std::fs::write(&file, "first\n").unwrap();
    let user = |password| User { name: "reader".to_owned(), password };
    let options = Options { user: Some(user(Password::File(file.clone()))), ..etcd.options() };
    let client = Client::new(options.clone());
    let range = Range::prefix("/gw/").limit(1);
    client.range(&range).await.unwrap();
    client.watch(&range, 0).await.unwrap();
    // This ends the token; the new one needs the new password.
    etcd.change_password("reader", "second").await;
    std::fs::write(&file, "second\n").unwrap();
    client.watch(&range, 0).await.unwrap();
    client.range(&range).await.unwrap();
    assert_eq!(client.counts().authentications, 2);

    for (what, user, range, kind) in [
        ("a wrong password", Some(user(Password::Text("wrong".to_owned()))), range.clone(), Kind::Credentials),
        ("no user", None, range.clone(), Kind::Token),
        ("not ours to read", options.user.clone(), Range::prefix("/other/"), Kind::Permission),
    ] {
        let client = Client::new(Options { user, ..etcd.options() });
        let error = client.range(&range).await.unwrap_err();
        assert_eq!(error.kind, kind, "{what}: {error}");
        assert!(client.watch(&range, 0).await.is_err(), "{what}");
        assert!(client.counts().authentications <= 4, "{what}: {:?}", client.counts());
    }
}

#[tokio::test]
async fn a_user_is_no_trouble_where_etcd_has_none() {
    let etcd = Etcd::start().await;
    let user = User { name: "reader".to_owned(), password: Password::Text("secret".to_owned()) };
    let client = Client::new(Options { user: Some(user), ..etcd.options() });
    client.put("/a", "1").await.unwrap();
}

#[tokio::test]
async fn tls_needs_the_right_authority_and_a_certificate_and_follows_a_rotation() {
    let mut etcd = Etcd::with(Setup { tls: true, ..Setup::default() }).await;
    let client = etcd.client();
    client.put("/a", "1").await.unwrap();
    let mut options = etcd.options();
    options.endpoints = vec![etcd.urls()[0].replace("https", "http")];
    options.request_timeout = Duration::from_millis(500);
    assert!(Client::new(options).range(&Range::key("/a")).await.is_err(), "without TLS");
    let tls = etcd.options().tls.unwrap();
    let stranger = etcd.folder().join("stranger.pem");
    std::fs::copy(tls.ca.clone().unwrap(), &stranger).unwrap();

    etcd.certificates().rotate();
    etcd.member(0).kill();
    etcd.member(0).restart();
    soon("the new certificates are taken", async || client.range(&Range::key("/a")).await.is_ok()).await;
    let wrong = tidegate::etcd::Tls { ca: Some(stranger), ..tls.clone() };
    let error = Client::new(Options { tls: Some(wrong), ..etcd.options() }).range(&Range::key("/a")).await.unwrap_err();
    assert_eq!(error.kind, Kind::Tls, "{error}");
}

#[tokio::test]
async fn another_member_answers_when_one_does_not() {
    let mut etcd = Etcd::cluster().await;
    let client = etcd.client();
    client.put("/a", "1").await.unwrap();
    assert_eq!(client.members().await.unwrap().len(), 3);
    for number in 0..3 {
        etcd.member(number).kill();
        eventually("another answers", Duration::from_secs(20), async || client.put("/a", "2").await.ok()).await;
        etcd.member(number).restart();
        etcd.answers().await;
    }
    assert!(client.status().await.unwrap().leader != 0);
}

#[tokio::test]
async fn the_members_found_stand_in_for_the_endpoint_given() {
    let mut etcd = Etcd::cluster().await;
    let endpoints = vec![etcd.urls().swap_remove(0)];
    let client = Client::new(Options { endpoints, ..etcd.options() });
    client.sync().await.unwrap();
    etcd.member(0).kill();
    soon("a member that was found answers", async || client.range(&Range::key("/a")).await.is_ok()).await;
}

#[tokio::test]
async fn a_watch_on_a_member_without_its_cluster_ends() {
    let etcd = Etcd::cluster().await;
    let endpoints = vec![etcd.urls().swap_remove(2)];
    let options = Options { endpoints, sync_interval: Duration::ZERO, ..etcd.options() };
    let client = Client::new(options);
    let mut watch = client.watch(&Range::prefix("/gw/"), 0).await.unwrap();
    etcd.isolate(2);
    let ended = tokio::time::timeout(Duration::from_secs(20), watch.next()).await.expect("it ends");
    assert_eq!(ended.unwrap_err().kind, Kind::Unavailable);
    etcd.heal();
    soon("it is open again", async || client.watch(&Range::prefix("/gw/"), 0).await.is_ok()).await;
}

#[tokio::test]
async fn a_half_open_connection_ends_its_watch() {
    let etcd = Etcd::start().await;
    let client = etcd.client();
    let mut watch = client.watch(&Range::prefix("/gw/"), 0).await.unwrap();
    etcd.members()[0].stop();
    let ended = tokio::time::timeout(Duration::from_secs(20), watch.next()).await.expect("pings are missed");
    let kind = ended.unwrap_err().kind;
    etcd.members()[0].go_on();
    assert!(matches!(kind, Kind::Timeout | Kind::Network), "{kind:?}");
}

#[tokio::test]
async fn a_connection_that_breaks_ends_its_watch_and_the_next_one_begins_where_it_ended() {
    let etcd = Etcd::start().await;
    let wire = Wire::to(etcd.members()[0].client()).await;
    let options =
        Options { endpoints: vec![wire.address().to_string()], sync_interval: Duration::ZERO, ..etcd.options() };
    let client = Client::new(options);
    let writer = etcd.client();
    let mut next = writer.put("/gw/0", "").await.unwrap() + 1;
    for round in 1..4 {
        let mut watch = client.watch(&Range::prefix("/gw/"), next).await.unwrap();
        writer.put(format!("/gw/{round}"), "").await.unwrap();
        assert_eq!(keys(&changes(&mut watch).await), [format!("/gw/{round}")]);
        next += 1;
        wire.cut(Whom::Everyone);
        assert!(watch.next().await.unwrap_err().is_passing());
        wire.mend();
    }
}
