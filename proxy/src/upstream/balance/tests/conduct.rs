//! What endpoints are ejected for, and clients that are bound to one.

use super::*;
use crate::config::spec::Ejection;

fn ejection() -> Ejection {
    Ejection {
        consecutive_errors: 3,
        consecutive_gateway_errors: 2,
        success_rate: None,
        interval: Duration::from_secs(10),
        base_time: Duration::from_secs(60),
        time_max: Duration::from_secs(300),
        percent_max: 50,
    }
}

#[test]
fn failures_in_a_row_eject_up_to_the_ceiling() {
    let scene = Scene::of(&[(1, 0, None); 4], |spec| spec.ejection = Some(ejection()));
    let head = |status: u16| http::Response::builder().status(status).body(()).unwrap().into_parts().0;
    let learn = |position, status| scene.turn(0).learn(position, Ok(&head(status)), Instant::now());
    let out = || (0..4).filter(|at| scene.endpoint(*at).conduct.is_ejected()).collect::<Vec<_>>();
    [500, 500, 200, 500, 500, 404].iter().for_each(|status| learn(0, *status));
    assert_eq!(out(), [0_usize; 0], "three in a row they were not");
    [500, 500, 500].iter().for_each(|status| learn(0, *status));
    assert_eq!(out(), [0]);
    scene.turn(0).learn(1, Err(Kind::UpstreamReset), Instant::now());
    scene.turn(0).learn(1, Err(Kind::ClientGone), Instant::now());
    assert_eq!(out(), [0]);
    learn(1, 503);
    assert_eq!(out(), [0, 1], "two of a gateway's errors; what the client did does not count");
    (0..5).for_each(|_| learn(2, 502));
    assert_eq!(out(), [0, 1], "half of them may be out");
    assert_eq!(scene.counts(100)[..2], [0, 0]);
}

#[test]
fn the_only_endpoint_is_never_ejected() {
    let scene = Scene::of(&[(1, 0, None)], |spec| spec.ejection = Some(ejection()));
    (0..9).for_each(|_| scene.turn(0).learn(0, Err(Kind::UpstreamReset), Instant::now()));
    assert!(!scene.endpoint(0).conduct.is_ejected());
}

#[test]
fn a_success_rate_far_below_the_others_ejects() {
    let rate = spec::SuccessRate { deviations_thousandths: 1500, requests_min: 10, endpoints_min: 3 };
    let ejection =
        Ejection { consecutive_errors: 0, consecutive_gateway_errors: 0, success_rate: Some(rate), ..ejection() };
    let scene = Scene::of(&[(1, 0, None); 4], |spec| spec.ejection = Some(ejection.clone()));
    let moving = Arc::clone(scene.balancer.moving().unwrap());
    let (roster, mut tallies) = (moving.now(), Tallies::new());
    let mut look = || compare(&roster.roster, &ejection, &mut tallies, &moving, &UpstreamSeries::default());
    look();
    for at in 0..4 {
        (0..20).for_each(|n| match at == 3 && n % 2 == 0 {
            true => drop(scene.endpoint(at).conduct.failed(0, false)),
            false => scene.endpoint(at).conduct.succeeded(0),
        });
    }
    look();
    let out: Vec<_> = (0..4).filter(|at| scene.endpoint(*at).conduct.is_ejected()).collect();
    assert_eq!(out, [3]);
    look();
    assert_eq!(scene.endpoint(3).conduct.ejections(), 1, "who is out is forgiven nothing");
}

#[test]
fn a_cookie_binds_while_its_endpoint_is_usable() {
    let affinity = spec::Affinity {
        cookie: "sticky".into(),
        attributes: "; Path=/; HttpOnly; SameSite=Lax".into(),
        secure: None,
        secret: None,
        ttl: None,
        path: "/".into(),
        same_site: "lax",
    };
    let scene = Scene::of(&[(1, 0, None), (1, 0, None), (0, 0, None)], |spec| spec.affinity = Some(affinity));
    let bound = |position: usize| {
        let mut fields = HeaderMap::new();
        scene.turn(0).bind(position, &scene.request(0), &mut fields);
        fields["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned()
    };
    let mut request = scene.request(0);
    for position in [0, 1, 2] {
        request.head.headers.insert("cookie", bound(position).parse().unwrap());
        let turn = || futures_util::FutureExt::now_or_never(scene.balancer.turn(&scene.worker, &request)).unwrap();
        assert!((0..5).all(|_| turn().choose(&Tried::new()) == Some(position)), "one without a weight keeps its own");
        let mut fields = HeaderMap::new();
        turn().bind(position, &request, &mut fields);
        assert!(fields.is_empty(), "it is bound already");
        scene.healthy(position, false);
        assert!(turn().choose(&Tried::new()).is_some_and(|other| other != position));
        scene.healthy(position, true);
    }
    for strange in ["sticky=", "sticky=zzzzzzzzzzzzzzzz", "sticky=+123456789abcdef", "sticky=0000000000000000"] {
        request.head.headers.insert("cookie", strange.parse().unwrap());
        let turn = futures_util::FutureExt::now_or_never(scene.balancer.turn(&scene.worker, &request)).unwrap();
        assert_eq!(turn.bound, None, "{strange}");
    }
}
