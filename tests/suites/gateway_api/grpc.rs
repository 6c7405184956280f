//! The tests `GRPCRoute*`, one function each; what a table cannot say stands below. Calls are HTTP/2 with prior knowledge.

use tidegate_tests::soon;

use super::play::{Stage, play};

#[tokio::test]
async fn grpc_exact_method_matching() {
    play("GRPCExactMethodMatching").await;
}

#[tokio::test]
async fn grpc_route_method_matching() {
    play("GRPCRouteMethodMatching").await;
}

#[tokio::test]
async fn grpc_route_header_matching() {
    play("GRPCRouteHeaderMatching").await;
}

#[tokio::test]
async fn grpc_route_listener_hostname_matching() {
    play("GRPCRouteListenerHostnameMatching").await;
}

#[tokio::test]
async fn grpc_route_named_rule() {
    play("GRPCRouteNamedRule").await;
}

#[tokio::test]
async fn grpc_route_request_header_modifier() {
    play("GRPCRouteRequestHeaderModifier").await;
}

#[tokio::test]
async fn grpc_route_all_backends_weight_zero() {
    play("GRPCRouteAllBackendsWeightZero").await;
}

#[tokio::test]
async fn grpc_route_weight() {
    let stage = Stage::set("GRPCRouteWeight").await;
    for _ in 0..20 {
        let mut client = stage.http2().await;
        for _ in 0..10 {
            assert_eq!(client.get("http://a.test/s/m").await.status, 200);
        }
    }
    let counts: Vec<_> = ["g1", "g2", "g3"].iter().map(|name| stage.http2_origins[name].requests()).collect();
    // Each of two workers shares every run of ten exactly.
    assert_eq!(counts.iter().sum::<usize>(), 200);
    assert!(counts[0].abs_diff(140) <= 6 && counts[2] == 0, "{counts:?}");
}

#[tokio::test]
async fn grpc_route_request_mirror() {
    let stage = Stage::set("GRPCRouteRequestMirror").await;
    stage.ask_all().await;
    soon("the mirror is asked", async || stage.http2_origins["g2"].requests() == 1).await;
}
