//! What plugins can do in each phase.

use super::*;

#[test]
fn a_plugin_that_does_nothing_changes_nothing() {
    on_worker(async {
        let bench = Bench::new();
        let plugin = bench.plugin("noop", guest!("noop"), |_| ()).await;
        let got = bench.send(&[&plugin], bench.get(&[("x-a", "1")])).await;
        assert_eq!(
            (got.status, got.header("was-x-a"), got.header("was-target")),
            (StatusCode::OK, Some("1"), Some("/a/b?c=d"))
        );
        assert_eq!(got.exchange.record.read(|recorded| recorded.steps.len()), 1);
    });
}

#[test]
fn a_plugin_reads_one_header_and_sets_another() {
    on_worker(async {
        let bench = Bench::new();
        let plugin = bench.plugin("header", guest!("header"), |_| ()).await;
        let got = bench.send(&[&plugin], bench.get(&[("x-in", "value")])).await;
        assert_eq!(got.header("was-x-out"), Some("value"));
        let got = bench.send(&[&plugin], bench.get(&[])).await;
        assert_eq!(got.header("was-x-out"), Some("none"));
    });
}

#[test]
fn a_plugin_answers_itself_and_steps_outside_see_it() {
    on_worker(async {
        let bench = Bench::new();
        let deny = bench.plugin("deny", guest!("deny"), |_| ()).await;
        let keep = bench.plugin("keep", guest!("keep"), |_| ()).await;
        let got = bench.send(&[&keep, &deny], bench.get(&[("x-in", "kept")])).await;
        assert_eq!(
            (got.status, got.header("x-reason"), got.body.as_str()),
            (StatusCode::FORBIDDEN, Some("wat"), "denied")
        );
        assert_eq!(got.header("x-out"), Some("kept"));
        assert_eq!(got.error(), None);
    });
}

#[test]
fn what_a_plugin_gives_at_the_request_is_in_the_response_without_another_call() {
    on_worker(async {
        let bench = Bench::new();
        let open = |spec: &mut spec::Plugin| spec.on_failure = FailurePolicy::Open;
        let ahead = bench.plugin("ahead", guest!("ahead"), open).await;
        let deny = bench.plugin("deny", guest!("deny"), |_| ()).await;
        let fields = |got: &Got, name| {
            let values = got.headers.get_all(name).iter().map(|value| value.to_str().unwrap().to_owned());
            values.collect::<Vec<_>>()
        };
        let sent = [("x-set", "old"), ("x-many", "1")];
        let got = bench.send(&[&ahead], bench.get(&sent)).await;
        assert_eq!(
            (fields(&got, "was-x-set"), fields(&got, "was-x-many")),
            (vec!["new".into()], vec!["1".into(), "2".into()])
        );
        assert_eq!(got.exchange.record.read(|recorded| recorded.steps.len()), 1);
        // Answers of inner steps, and one that comes by twice.
        let got = bench.send(&[&ahead, &ahead, &deny], bench.get(&sent)).await;
        assert_eq!((got.status, fields(&got, "was-x-many")), (StatusCode::FORBIDDEN, vec!["2".into(), "2".into()]));
        // A plugin that failed is as if it were not there, and its own answer is as it made it.
        let got = bench.send(&[&ahead], bench.get(&[("x-set", "old"), ("x-fail", "1")])).await;
        assert_eq!((got.status, fields(&got, "was-x-set")), (StatusCode::OK, vec!["old".into()]));
        let got = bench.send(&[&ahead], bench.get(&[("x-deny", "1")])).await;
        assert_eq!((got.status, fields(&got, "was-x-set")), (StatusCode::FORBIDDEN, Vec::<String>::new()));
    });
}

#[test]
fn bodies_stream_through_a_plugin_in_chunks() {
    on_worker(async {
        let bench = Bench::new();
        let plugin = bench.plugin("upper", guest!("upper-stream"), |_| ()).await;
        let got = bench.send(&[&plugin], bench.post(chunks(&["ab", "", "cd", "e"]))).await;
        assert_eq!((got.body.as_str(), got.header("content-length")), ("ABCDE", None));
        let long = "x".repeat(200_000);
        let got = bench.send(&[&plugin], bench.post(Body::full(long.clone()))).await;
        assert_eq!(got.body, long.to_uppercase());
    });
}

#[test]
fn a_chunk_is_asked_for_only_when_the_reader_asks() {
    on_worker(async {
        let bench = Bench::new();
        let plugin = bench.plugin("upper", guest!("upper-stream"), |_| ()).await;
        let polled = Rc::new(RefCell::new(0));
        let body = Body::stream(Chunks(["a", "b", "c"].map(Bytes::from).into(), Rc::clone(&polled)));
        // An end that reads one frame and answers.
        struct Half;
        impl Call for Half {
            fn call(&self, mut request: Box<Request>) -> LocalBoxFuture<'_, Result<Response, Error>> {
                Box::pin(async move {
                    let first = request.body.frame().await.unwrap()?.into_data().unwrap();
                    Ok(Response::text(StatusCode::OK, first))
                })
            }
        }
        let response = chain(&[&plugin]).run(bench.post(body), &end(Half)).await;
        assert_eq!((response.body.collect().await.unwrap().to_bytes().as_ref(), *polled.borrow()), (&b"A"[..], 1));
    });
}

#[test]
fn a_whole_body_is_there_at_once_and_its_length_is_put_right() {
    on_worker(async {
        let bench = Bench::new();
        let plugin = bench.plugin("upper", guest!("upper-whole"), |_| ()).await;
        let got = bench.send(&[&plugin], bench.post(chunks(&["ab", "cd", "e"]))).await;
        assert_eq!((got.body.as_str(), got.header("content-length")), ("ABCDE", Some("5")));
        assert_eq!((got.header("was-x-upper"), got.header("x-upper")), (Some("yes"), Some("yes")));
        assert_eq!(got.header("was-content-length"), Some("5"));
    });
}

#[test]
fn a_body_over_the_limit_for_buffering_is_413() {
    on_worker(async {
        let bench = Bench::new();
        let plugin = bench.plugin("upper", guest!("upper-whole"), |spec| spec.limits.buffer_bytes_max = 4).await;
        let got = bench.send(&[&plugin], bench.post(chunks(&["abc", "de"]))).await;
        assert_eq!((got.status.as_u16(), got.error()), (413, Some("body_too_large")));
    });
}

#[test]
fn what_is_kept_in_the_request_is_there_in_the_response() {
    on_worker(async {
        let bench = Bench::new();
        let plugin = bench.plugin("keep", guest!("keep"), |_| ()).await;
        let (one, two) = (bench.get(&[("x-in", "one")]), bench.get(&[]));
        let plugins = [&plugin];
        let (one, two) = tokio::join!(bench.send(&plugins, one), bench.send(&plugins, two));
        assert_eq!((one.header("x-out"), two.header("x-out")), (Some("one"), None));
    });
}

#[test]
fn a_key_value_space_is_shared_and_survives_a_reload() {
    on_worker(async {
        let bench = Bench::new();
        let old = bench.plugin("limits", guest!("counter"), |_| ()).await;
        let got = bench.send(&[&old], bench.get(&[])).await;
        assert_eq!(got.header("was-x-count"), Some("1"));
        let changed = format!(";; a new version\n{}", guest!("counter"));
        let new = bench.plugin("limits", &changed, |_| ()).await;
        drop(old);
        let other = bench.plugin("others", guest!("counter"), |_| ()).await;
        let (got, first) = (bench.send(&[&new], bench.get(&[])).await, bench.send(&[&other], bench.get(&[])).await);
        assert_eq!((got.header("was-x-count"), first.header("was-x-count")), (Some("2"), Some("1")));
    });
}

#[test]
fn a_plugin_calls_an_upstream_that_is_granted() {
    on_worker(async {
        struct Auth;
        impl Call for Auth {
            fn call(&self, request: Box<Request>) -> LocalBoxFuture<'_, Result<Response, Error>> {
                Box::pin(async move {
                    assert_eq!((request.head.uri.path(), request.authority.as_str()), ("/check", "auth"));
                    tokio::task::yield_now().await;
                    Ok(Response::text(StatusCode::OK, "alice"))
                })
            }
        }
        let mut bench = Bench::new();
        let refused = bench.plugin("call", guest!("call"), |_| ()).await;
        assert_eq!(bench.send(&[&refused], bench.get(&[])).await.header("was-x-auth"), Some("refused"));
        bench.grants.insert("auth".into(), Arc::new(Auth));
        let granted = bench.plugin("call", guest!("call"), |spec| spec.grants.upstreams = vec!["auth".into()]).await;
        assert_eq!(bench.send(&[&granted], bench.get(&[])).await.header("was-x-auth"), Some("alice"));
        let stingy = |spec: &mut spec::Plugin| {
            spec.grants.upstreams = vec!["auth".into()];
            spec.limits.call_bytes_max = 4;
        };
        let stingy = bench.plugin("call", guest!("call"), stingy).await;
        assert_eq!(bench.send(&[&stingy], bench.get(&[])).await.header("was-x-auth"), Some("refused"));
    });
}

#[test]
fn a_call_to_an_upstream_ends_when_the_plugin_says_and_the_plugin_goes_on() {
    on_worker(async {
        struct Silent;
        impl Call for Silent {
            fn call(&self, _: Box<Request>) -> LocalBoxFuture<'_, Result<Response, Error>> {
                Box::pin(std::future::pending())
            }
        }
        let mut bench = Bench::new();
        bench.grants.insert("auth".into(), Arc::new(Silent));
        let patient = |spec: &mut spec::Plugin| {
            spec.grants.upstreams = vec!["auth".into()];
            spec.limits.call_timeout = Duration::from_secs(60);
            spec.limits.exchange_timeout = Duration::from_secs(60);
        };
        let plugin = bench.plugin("call", guest!("call"), patient).await;
        assert_eq!(bench.send(&[&plugin], bench.get(&[])).await.header("was-x-auth"), Some("refused"));
    });
}

#[test]
fn the_end_of_an_exchange_is_told_and_metrics_count() {
    on_worker(async {
        let bench = Bench::new();
        let plugin = bench.plugin("end", guest!("end"), |_| ()).await;
        bench.send(&[&plugin], bench.get(&[])).await;
        bench.send(&[&plugin], bench.get(&[])).await;
        until(|| {
            let text = bench.metrics.render();
            let line = |name: &str| text.lines().any(|line| line.contains(name) && line.contains("\"end\""));
            line("\"ended\"") && line("\"status\"")
        })
        .await;
    });
}

#[test]
fn a_plugin_cannot_frame_or_split_a_message() {
    on_worker(async {
        let bench = Bench::new();
        let plugin = bench.plugin("inject", guest!("inject"), |_| ()).await;
        let got = bench.send(&[&plugin], bench.get(&[])).await;
        assert_eq!(
            (got.status, got.header("was-x-a"), got.header("was-transfer-encoding")),
            (StatusCode::OK, None, None)
        );
    });
}
