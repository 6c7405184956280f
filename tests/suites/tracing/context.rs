//! W3C Trace Context and Baggage, in and out.

use tidegate_tests::Collector;

use super::{parent, scene, with};

#[tokio::test]
async fn a_state_and_baggage_go_on_with_their_trace() {
    let collector = Collector::grpc();
    let (_origin, _dir, gateway) = scene(&collector, "").await;
    for mut client in [gateway.http1().await, gateway.http2().await] {
        let fields = [
            ("traceparent", &*parent(1, true)),
            ("tracestate", "a=1,b@c=2"),
            ("tracestate", "d=3"),
            ("baggage", "user=1;p=q, other=%20x"),
        ];
        let answer = client.send(with("/", &fields)).await;
        assert_eq!(answer.echoed("tracestate"), ["a=1,b@c=2", "d=3"]);
        assert_eq!(answer.echoed("baggage"), ["user=1;p=q, other=%20x"]);
    }
    let spans = collector.wait_for(4).await;
    assert!(spans.iter().all(|span| span.state == "a=1,b@c=2,d=3"), "{spans:#?}");
}

#[tokio::test]
async fn a_state_without_its_parent_or_malformed_goes_no_further() {
    let collector = Collector::grpc();
    let (_origin, _dir, gateway) = scene(&collector, "sample: {ratio: 0, parent: ignore}").await;
    let valid = parent(1, true);
    let twice: [(&'static str, &str); 3] = [("traceparent", &valid), ("traceparent", &valid), ("tracestate", "a=1")];
    type Case<'a> = (&'a [(&'static str, &'a str)], bool, usize);
    let cases: [Case<'_>; 6] = [
        (&[("traceparent", &valid), ("tracestate", "a=1")], true, 1),
        (&[("tracestate", "a=1")], false, 0),
        (&[("traceparent", "00-x"), ("tracestate", "a=1")], false, 0),
        (&[("traceparent", &valid), ("tracestate", "A=1")], true, 0),
        (&[("traceparent", &valid), ("tracestate", "a=1"), ("tracestate", "b")], true, 0),
        (&twice, false, 0),
    ];
    for mut client in [gateway.http1().await, gateway.http2().await] {
        for (fields, continued, states) in cases {
            let answer = client.send(with("/", fields)).await;
            let sent = answer.echoed("traceparent");
            assert_eq!(sent.len(), 1, "{fields:?}");
            assert_eq!(sent[0].starts_with("00-0af7651916cd43dd0000000000000001-"), continued, "{fields:?}: {sent:?}");
            assert_eq!(answer.echoed("tracestate").len(), states, "{fields:?}");
            assert!(sent[0].ends_with(if continued { "-00" } else { "-02" }), "{fields:?}: {sent:?}");
        }
    }
}
