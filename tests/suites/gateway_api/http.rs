//! The tests `HTTPRoute*`, one function each; what a table cannot say stands below.

use std::collections::BTreeMap;

use futures_util::{SinkExt, StreamExt};
use http::Method;
use tidegate_tests::{Client, request, soon};
use tokio::net::TcpStream;
use tokio_tungstenite::{client_async, tungstenite::Message};

use super::play::{Stage, play};

#[tokio::test]
async fn http_route_simple_same_namespace() {
    play("HTTPRouteSimpleSameNamespace").await;
}

#[tokio::test]
async fn http_route_exact_path_matching() {
    play("HTTPRouteExactPathMatching").await;
}

#[tokio::test]
async fn http_route_matching() {
    play("HTTPRouteMatching").await;
}

#[tokio::test]
async fn http_route_matching_across_routes() {
    play("HTTPRouteMatchingAcrossRoutes").await;
}

#[tokio::test]
async fn http_route_header_matching() {
    play("HTTPRouteHeaderMatching").await;
}

#[tokio::test]
async fn http_route_query_param_matching() {
    play("HTTPRouteQueryParamMatching").await;
}

#[tokio::test]
async fn http_route_method_matching() {
    play("HTTPRouteMethodMatching").await;
}

#[tokio::test]
async fn http_route_path_match_order() {
    play("HTTPRoutePathMatchOrder").await;
}

#[tokio::test]
async fn http_route_hostname_intersection() {
    play("HTTPRouteHostnameIntersection").await;
}

#[tokio::test]
async fn http_route_listener_hostname_matching() {
    play("HTTPRouteListenerHostnameMatching").await;
}

#[tokio::test]
async fn http_route_listener_port_matching() {
    play("HTTPRouteListenerPortMatching").await;
}

#[tokio::test]
async fn http_route_cross_namespace() {
    play("HTTPRouteCrossNamespace").await;
}

#[tokio::test]
async fn http_route_reference_grant() {
    play("HTTPRouteReferenceGrant").await;
}

#[tokio::test]
async fn http_route_invalid_reference_grant() {
    play("HTTPRouteInvalidReferenceGrant").await;
}

#[tokio::test]
async fn http_route_invalid_cross_namespace_backend_ref() {
    play("HTTPRouteInvalidCrossNamespaceBackendRef").await;
}

#[tokio::test]
async fn http_route_invalid_cross_namespace_parent_ref() {
    play("HTTPRouteInvalidCrossNamespaceParentRef").await;
}

#[tokio::test]
async fn http_route_invalid_non_existent_backend_ref() {
    play("HTTPRouteInvalidNonExistentBackendRef").await;
}

#[tokio::test]
async fn http_route_invalid_backend_ref_unknown_kind() {
    play("HTTPRouteInvalidBackendRefUnknownKind").await;
}

#[tokio::test]
async fn http_route_invalid_parent_ref_not_matching_section_name() {
    play("HTTPRouteInvalidParentRefNotMatchingSectionName").await;
}

#[tokio::test]
async fn http_route_invalid_parent_ref_section_name_not_matching_port() {
    play("HTTPRouteInvalidParentRefSectionNameNotMatchingPort").await;
}

#[tokio::test]
async fn http_route_partially_invalid_via_invalid_reference_grant() {
    play("HTTPRoutePartiallyInvalidViaInvalidReferenceGrant").await;
}

#[tokio::test]
async fn http_route_disallowed_kind() {
    play("HTTPRouteDisallowedKind").await;
}

#[tokio::test]
async fn http_route_request_header_modifier() {
    play("HTTPRouteRequestHeaderModifier").await;
}

#[tokio::test]
async fn http_route_response_header_modifier() {
    play("HTTPRouteResponseHeaderModifier").await;
}

#[tokio::test]
async fn http_route_backend_request_header_modifier() {
    play("HTTPRouteBackendRequestHeaderModifier").await;
}

#[tokio::test]
async fn http_route_redirect_host_and_status() {
    play("HTTPRouteRedirectHostAndStatus").await;
}

#[tokio::test]
async fn http_route_redirect_path() {
    play("HTTPRouteRedirectPath").await;
}

#[tokio::test]
async fn http_route_redirect_port() {
    play("HTTPRouteRedirectPort").await;
}

#[tokio::test]
async fn http_route_redirect_scheme() {
    play("HTTPRouteRedirectScheme").await;
}

#[tokio::test]
async fn http_route_redirect_port_and_scheme() {
    play("HTTPRouteRedirectPortAndScheme").await;
}

#[tokio::test]
async fn http_route_303_redirect() {
    play("HTTPRoute303Redirect").await;
}

#[tokio::test]
async fn http_route_307_redirect() {
    play("HTTPRoute307Redirect").await;
}

#[tokio::test]
async fn http_route_308_redirect() {
    play("HTTPRoute308Redirect").await;
}

#[tokio::test]
async fn http_route_rewrite_host() {
    play("HTTPRouteRewriteHost").await;
}

#[tokio::test]
async fn http_route_rewrite_path() {
    play("HTTPRouteRewritePath").await;
}

#[tokio::test]
async fn http_route_backend_url_rewrite() {
    play("HTTPRouteBackendURLRewrite").await;
}

#[tokio::test]
async fn http_route_backend_request_redirect() {
    play("HTTPRouteBackendRequestRedirect").await;
}

#[tokio::test]
async fn http_route_all_backends_weight_zero() {
    play("HTTPRouteAllBackendsWeightZero").await;
}

#[tokio::test]
async fn http_route_cors() {
    play("HTTPRouteCORS").await;
}

#[tokio::test]
async fn http_route_cors_allow_credentials_behavior() {
    play("HTTPRouteCORSAllowCredentialsBehavior").await;
}

#[tokio::test]
async fn http_route_service_types() {
    play("HTTPRouteServiceTypes").await;
}

#[tokio::test]
async fn http_route_https_listener() {
    play("HTTPRouteHTTPSListener").await;
}

#[tokio::test]
async fn http_route_https_listener_detect_misdirected_requests() {
    play("HTTPRouteHTTPSListenerDetectMisdirectedRequests").await;
}

#[tokio::test]
async fn http_route_named_rule() {
    play("HTTPRouteNamedRule").await;
}

#[tokio::test]
async fn http_route_direct_response() {
    play("HTTPRouteDirectResponse").await;
}

#[tokio::test]
async fn http_route_multiple_gateways() {
    play("HTTPRouteMultipleGateways").await;
}

#[tokio::test]
async fn http_route_backend_protocol_h2c() {
    play("HTTPRouteBackendProtocolH2C").await;
}

#[tokio::test]
async fn http_route_retry() {
    let stage = Stage::set("HTTPRouteRetry").await;
    // Path, what the origin answers in turn, what the client sees, and how often the origin was asked.
    let cases: [(&str, &[u16], u16, usize); 7] = [
        ("/code-500-attempts-3", &[500, 500, 200], 200, 3),
        ("/code-500-attempts-3", &[500, 500, 500, 500], 500, 4),
        ("/code-500-attempts-3", &[503], 503, 1),
        ("/code-all-attempts-2", &[502, 200], 200, 2),
        ("/code-all-attempts-2", &[503, 504, 200], 200, 3),
        ("/code-all-attempts-2", &[504, 504, 504], 504, 3),
        ("/code-all-attempts-0", &[500], 500, 1),
    ];
    for (path, answers, status, count) in cases {
        let mut hold = stage.origins["v3"].hold(path);
        let before = stage.origins["v3"].requests();
        let play = async {
            for answer in answers {
                let mut held = hold.next().await;
                held.send(&format!("HTTP/1.1 {answer} Whatever\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"))
                    .await;
            }
        };
        let asked = format!("GET http://a.test{path}");
        let (answer, ()) = tokio::join!(stage.send(&asked), play);
        assert_eq!(answer.status.as_u16(), status, "{path} {answers:?}");
        assert_eq!(stage.origins["v3"].requests() - before, count, "{path} {answers:?}");
    }
}

#[tokio::test]
async fn http_route_weight() {
    let stage = Stage::set("HTTPRouteWeight").await;
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    let mut client = Client::http1(stage.gateway.listener("gateway-80")).await;
    for _ in 0..200 {
        let answer = client.get("http://a.test/").await;
        *counts.entry(answer.header("x-origin").to_owned()).or_default() += 1;
    }
    // Each connection is one worker's, which shares exactly.
    assert_eq!(counts, BTreeMap::from([("v1".to_owned(), 140), ("v2".to_owned(), 60)]));
}

#[tokio::test]
async fn http_route_invalid_backend_refs_take_their_share() {
    let stage = Stage::set("HTTPRouteInvalidNonExistentBackendRef").await;
    let mut client = Client::http1(stage.gateway.listener("gateway-80")).await;
    let mut failed = 0;
    for _ in 0..100 {
        failed += u32::from(client.get("http://a.test/half").await.status == 500);
    }
    assert_eq!(failed, 50);
}

#[tokio::test]
async fn http_route_request_mirror() {
    let stage = Stage::set("HTTPRouteRequestMirror").await;
    stage.ask_all().await;
    for (count, path) in [(1, "/mirror"), (2, "/mirror-and-modify")] {
        stage.ask(&format!("GET http://a.test{path} => 200 v1")).await;
        soon("the mirror is asked", async || stage.origins["v2"].requests() == count).await;
    }
}

#[tokio::test]
async fn http_route_request_multiple_mirrors() {
    let stage = Stage::set("HTTPRouteRequestMultipleMirrors").await;
    stage.ask_all().await;
    soon("both are asked", async || ["v2", "v3"].iter().all(|name| stage.origins[name].requests() == 1)).await;
}

#[tokio::test]
async fn http_route_request_percentage_mirror() {
    let stage = Stage::set("HTTPRouteRequestPercentageMirror").await;
    let mut client = Client::http1(stage.gateway.listener("gateway-80")).await;
    for (path, count, origin, share) in
        [("/percent", 400, "v2", 0.2), ("/fraction", 400, "v3", 0.5), ("/none", 50, "web", 0.0)]
    {
        for _ in 0..count {
            assert_eq!(client.get(&format!("http://a.test{path}")).await.status, 200);
        }
        // Six standard deviations.
        let (mean, spread) = (f64::from(count) * share, 6.0 * (f64::from(count) * share * (1.0 - share)).sqrt());
        let near = || (stage.origins[origin].requests() as f64 - mean).abs() <= spread;
        soon(&format!("{origin} has its share"), async || near()).await;
    }
}

#[tokio::test]
async fn http_route_timeout_request() {
    timeouts("HTTPRouteTimeoutRequest", &["/request-timeout"]).await;
}

#[tokio::test]
async fn http_route_timeout_backend_request() {
    timeouts("HTTPRouteTimeoutBackendRequest", &["/backend-timeout", "/both"]).await;
}

async fn timeouts(name: &str, paths: &[&str]) {
    let stage = Stage::set(name).await;
    stage.ask_all().await;
    for path in paths {
        let mut hold = stage.origins["v1"].hold(path);
        let answer = stage.send(&format!("GET http://a.test{path}")).await;
        assert_eq!(answer.status, 504, "{path}");
        drop(hold.next().await);
    }
}

#[tokio::test]
async fn http_route_backend_protocol_web_socket() {
    let stage = Stage::set("HTTPRouteBackendProtocolWebSocket").await;
    stage.ask_all().await;
    let socket = TcpStream::connect(stage.gateway.listener("gateway-80")).await.unwrap();
    let (mut messages, answer) = client_async("ws://a.test/websocket", socket).await.unwrap();
    assert_eq!(answer.status().as_u16(), 101);
    messages.send(Message::text("hello")).await.unwrap();
    assert_eq!(messages.next().await.unwrap().unwrap(), Message::text("hello"));
}

#[tokio::test]
async fn routes_that_lose_their_parent_serve_nothing_and_are_named() {
    let stage = Stage::set("HTTPRouteSimpleSameNamespace").await;
    stage.ask_all().await;
    stage.dir.edit("case.yaml", "parentRefs: [{name: same-namespace}]", "parentRefs: [{name: somebody}]");
    stage.gateway.apply().await;
    let answer = Client::http1(stage.gateway.listener("gateway-80")).await.send(request(Method::GET, "/")).await;
    assert_eq!(answer.status, 404);
}
