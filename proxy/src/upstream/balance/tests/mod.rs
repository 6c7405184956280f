//! Choices over endpoints that are made up: who takes what, by policy, health and history.

mod conduct;

use std::{cell::Cell, rc::Rc};

use http::Method;
use proptest::prelude::*;

use super::{super::tests::settings, *};
use crate::{
    config::{
        diagnostic::Place as At,
        spec::{self, Balance, Endpoint, HashKey, Panic, Part},
    },
    exchange::testing,
    state::{EndpointKey, EndpointState, Verdict},
};

struct Scene {
    balancer: Balancer,
    worker: Rc<Worker>,
    user: Cell<u32>,
}

// A weight, a priority, a zone of its own or not.
type Row = (u32, u16, Option<bool>);

impl Scene {
    fn new(weights: &[u32], balance: Balance) -> Self {
        let rows: Vec<Row> = weights.iter().map(|weight| (*weight, 0, None)).collect();
        Self::of(&rows, |spec| spec.balance = balance)
    }

    fn of(rows: &[Row], change: impl FnOnce(&mut spec::Upstream)) -> Self {
        let mut spec = settings(Vec::<Endpoint>::new());
        change(&mut spec);
        let member = |(port, row): (usize, &Row)| {
            let key = EndpointKey::new(&format!("127.0.0.1:{}", port + 1), None);
            let endpoint = Arc::new(EndpointState::new(&key, 2));
            let verdict = Some(Arc::new(Verdict::new(Arc::clone(&endpoint), true)));
            let (weight, priority, local) = *row;
            Member { endpoint, verdict, weight, priority, local, ejects: true }
        };
        let members = rows.iter().enumerate().map(member).collect();
        let roster = Roster::new(members, &spec.balance, spec.affinity.as_ref());
        let at = At { file: "test".into(), line: 1, column: 1, length: 1 };
        let sequence = Arc::new(Sequence::new(2));
        let balancer = Balancer::new(roster, &Arc::new(Part::new(at, spec)), true, sequence, Arc::default());
        Self { balancer, worker: Rc::default(), user: Cell::new(0) }
    }

    fn request(&self, user: u32) -> Box<Request> {
        let mut request = testing::request_on(testing::exchange_on(&self.worker), Method::GET, "/");
        request.head.headers.insert("x-user", user.into());
        request
    }

    fn turn(&self, user: u32) -> Turn<'_> {
        let request = self.request(user);
        let turn = self.balancer.turn(&self.worker, &request);
        futures_util::FutureExt::now_or_never(turn).expect("its endpoints are known")
    }

    fn choose(&self, tried: &Tried) -> Option<usize> {
        self.user.set(self.user.get() + 1);
        self.turn(self.user.get()).choose(tried)
    }

    fn counts(&self, picks: usize) -> Vec<usize> {
        let mut counts = vec![0; self.members(|members| members.len())];
        (0..picks).for_each(|_| counts[self.choose(&Tried::new()).unwrap()] += 1);
        counts
    }

    fn members<T>(&self, look: impl FnOnce(&[Member]) -> T) -> T {
        self.balancer.look(|standing| look(&standing.roster.members))
    }

    fn endpoint(&self, position: usize) -> Arc<EndpointState> {
        self.members(|members| Arc::clone(&members[position].endpoint))
    }

    fn healthy(&self, position: usize, healthy: bool) {
        self.members(|members| members[position].verdict.as_ref().unwrap().set(healthy));
    }

    // What the keeper does when something changed.
    fn publish(&self) {
        let moving = self.balancer.moving().unwrap();
        moving.publish(Standing::new(Arc::clone(&moving.now().roster), self.balancer.rules()));
    }
}

fn by_user() -> Balance {
    let header = http::HeaderName::from_static("x-user");
    Balance::Hash { keys: vec![HashKey::Header(header)], load_percent_max: None }
}

const EWMA: Balance = Balance::PeakEwma { decay: Duration::from_secs(3600) };

#[test]
fn round_robin_gives_each_its_weight() {
    assert_eq!(Scene::new(&[3, 1, 6], Balance::RoundRobin).counts(100), [30, 10, 60]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    // Four standard deviations and a little, so that chance does not fail it.
    #[test]
    fn policies_that_draw_give_each_its_weight(weights in prop::collection::vec(1..6_u32, 2..7)) {
        for balance in [Balance::LeastRequest, by_user()] {
            let scene = Scene::new(&weights, balance.clone());
            let (picks, total) = (4000.0, weights.iter().sum::<u32>());
            for (count, weight) in scene.counts(4000).into_iter().zip(&weights) {
                let part = f64::from(*weight) / f64::from(total);
                let spread = 5.0 * (picks * part * (1.0 - part)).sqrt() + picks * 0.02;
                prop_assert!((count as f64 - picks * part).abs() < spread, "{:?} {} of {:?}", balance, count, weights);
            }
        }
    }

    #[test]
    fn an_unhealthy_endpoint_moves_its_own_keys_and_no_other(count in 2..8_usize, gone in any::<prop::sample::Index>()) {
        let scene = Scene::new(&vec![1; count], by_user());
        let owners = |scene: &Scene| (0..300).map(|user| scene.turn(user).choose(&Tried::new())).collect::<Vec<_>>();
        let (before, gone) = (owners(&scene), gone.index(count));
        scene.healthy(gone, false);
        let unpublished = owners(&scene);
        scene.publish();
        prop_assert_eq!(&unpublished, &owners(&scene), "publishing changes nothing that was seen already");
        for (before, now) in before.iter().zip(&unpublished) {
            let stays = *before != Some(gone);
            prop_assert_eq!(stays, before == now);
        }
        scene.healthy(gone, true);
        scene.publish();
        prop_assert_eq!(before, owners(&scene));
    }
}

#[test]
fn an_unhealthy_or_suspect_endpoint_takes_nothing_until_all_are() {
    for balance in [Balance::RoundRobin, Balance::LeastRequest, EWMA, by_user()] {
        let scene = Scene::new(&[1, 1, 2, 1], balance.clone());
        scene.healthy(0, false);
        scene.endpoint(1).suspect(Duration::from_secs(60));
        for _published in [false, true] {
            let now = scene.counts(1000);
            assert_eq!((now[0], now[1], now[2] + now[3]), (0, 0, 1000), "{balance:?}");
            assert!(balance == EWMA || now[2] > 550 && now[3] > 250, "{balance:?}: {now:?}");
            scene.publish();
        }
        (2..4).for_each(|member| scene.healthy(member, false));
        for _published in [false, true] {
            assert_eq!(scene.counts(100), [0, 100, 0, 0], "suspect is better than unhealthy: {balance:?}");
            scene.publish();
        }
        scene.healthy(1, false);
        scene.publish();
        let all = scene.counts(1000);
        assert!([0, 2, 3].iter().all(|at| all[*at] > 100), "all unhealthy: all are used: {balance:?} {all:?}");
    }
}

#[test]
fn what_was_tried_is_not_chosen_again() {
    for balance in [Balance::RoundRobin, Balance::LeastRequest, EWMA, by_user()] {
        let scene = Scene::new(&[1, 1, 1], balance);
        let mut tried = Tried::new();
        while let Some(member) = scene.choose(&tried) {
            assert!(!tried.contains(&member));
            tried.push(member);
        }
        assert_eq!(tried.len(), 3);
    }
}

#[test]
fn least_request_avoids_the_busy_one() {
    let scene = Scene::new(&[1, 1], Balance::LeastRequest);
    scene.endpoint(0).gauges.begin(0);
    assert_eq!(scene.counts(50), [0, 50]);
    scene.endpoint(0).gauges.end(0);
    assert!(scene.counts(100).iter().all(|count| *count > 20));
    scene.endpoint(1).gauges.begin(1);
    assert_eq!(scene.counts(50), [50, 0], "where this worker cannot tell, all workers count");
}

#[test]
fn peak_ewma_avoids_the_slow_one_and_the_busy_one() {
    let scene = Scene::new(&[1, 1], EWMA);
    let measured =
        |at: usize, millis| scene.endpoint(at).conduct.measured(0, Duration::from_millis(millis), Duration::MAX);
    measured(0, 100);
    measured(1, 10);
    assert_eq!(scene.counts(50), [0, 50]);
    (0..20).for_each(|_| scene.endpoint(1).gauges.begin(0));
    assert_eq!(scene.counts(50), [50, 0], "ten times as fast, twenty times as busy");
}

#[test]
fn what_answers_with_failures_does_not_seem_fast() {
    let scene = Scene::new(&[1, 1], EWMA);
    let turn = scene.turn(0);
    let head = |status: u16| http::Response::builder().status(status).body(()).unwrap().into_parts().0;
    turn.learn(0, Ok(&head(200)), Instant::now() - Duration::from_millis(20));
    turn.learn(1, Ok(&head(503)), Instant::now() - Duration::from_millis(1));
    assert_eq!(scene.counts(50), [50, 0]);
}

#[test]
fn a_bound_on_load_sends_a_key_elsewhere_and_back() {
    let balance = match by_user() {
        Balance::Hash { keys, .. } => Balance::Hash { keys, load_percent_max: Some(125) },
        other => other,
    };
    let scene = Scene::new(&[1, 1, 1, 1], balance);
    let own = scene.turn(7).choose(&Tried::new()).unwrap();
    let busy = scene.endpoint(own);
    (0..10).for_each(|_| busy.gauges.begin(1));
    let other = scene.turn(7).choose(&Tried::new()).unwrap();
    assert_ne!(other, own);
    assert_eq!(scene.turn(7).choose(&Tried::new()), Some(other), "the same other one each time");
    (0..10).for_each(|_| busy.gauges.end(1));
    assert_eq!(scene.turn(7).choose(&Tried::new()), Some(own));
}

#[test]
fn a_request_without_the_key_goes_to_each_in_turn() {
    let header = http::HeaderName::from_static("x-none");
    let keys = vec![HashKey::Header(header)];
    let scene = Scene::new(&[1, 1, 1], Balance::Hash { keys, load_percent_max: None });
    assert_eq!(scene.counts(30), [10, 10, 10]);
}

#[test]
fn no_endpoint_is_chosen_where_there_is_none() {
    assert_eq!(Scene::new(&[], Balance::RoundRobin).choose(&Tried::new()), None);
}

#[test]
fn below_the_threshold_all_are_used_and_never_means_never() {
    let rows = [(1, 0, None); 4];
    for (panic, unhealthy, expected) in [
        (Panic::Below(50), 2, Some([0, 0, 50, 50])),
        (Panic::Below(50), 3, Some([25, 25, 25, 25])),
        (Panic::Below(0), 3, Some([0, 0, 0, 100])),
        (Panic::Below(0), 4, Some([25, 25, 25, 25])),
        (Panic::Never, 3, Some([0, 0, 0, 100])),
        (Panic::Never, 4, None),
    ] {
        let scene = Scene::of(&rows, |spec| spec.panic = panic);
        (0..unhealthy).for_each(|at| scene.healthy(at, false));
        scene.publish();
        match expected {
            Some(expected) => assert_eq!(scene.counts(100), expected, "{panic:?}, {unhealthy} unhealthy"),
            None => {
                assert_eq!(scene.choose(&Tried::new()), None);
                assert_eq!(scene.turn(0).nothing(&"users".into()).kind(), Kind::NoEndpoint);
            }
        }
    }
}

#[test]
fn the_own_zone_comes_first_and_gives_away_what_it_lacks() {
    let (near, far) = ((1, 0, Some(true)), (1, 0, Some(false)));
    let rows = [near, near, near, near, near, near, near, near, near, near, far, far];
    // Unhealthy ones of ten, and what the own zone takes of a thousand.
    for (unhealthy, stays) in [(0, 1000), (3, 1000), (4, 857), (5, 714), (9, 142), (10, 0)] {
        let scene = Scene::of(&rows, |_| {});
        (0..unhealthy).for_each(|at| scene.healthy(at, false));
        scene.publish();
        let counts = scene.counts(10_000);
        let has = counts[..10].iter().sum::<usize>() / 10;
        assert!(has.abs_diff(stays) <= 2, "{unhealthy} unhealthy: {has}, not {stays}");
        assert!(counts[10].abs_diff(counts[11]) <= 10, "{counts:?}");
    }
}

#[test]
fn a_later_priority_takes_over_when_the_first_is_gone() {
    let rows = [(1, 0, None), (1, 0, None), (1, 1, None), (3, 1, None)];
    let scene = Scene::of(&rows, |_| {});
    assert_eq!(scene.counts(100), [50, 50, 0, 0]);
    scene.healthy(0, false);
    scene.publish();
    assert_eq!(scene.counts(100), [0, 100, 0, 0]);
    scene.healthy(1, false);
    for published in [false, true] {
        let counts = scene.counts(100);
        assert_eq!(counts[..2], [0, 0]);
        assert!(!published || counts[2..] == [25, 75]);
        scene.publish();
    }
    scene.healthy(0, true);
    scene.publish();
    assert_eq!(scene.counts(100), [100, 0, 0, 0]);
}

#[test]
fn who_begins_anew_takes_a_part_that_grows() {
    let scene = Scene::of(&[(1, 0, None), (1, 0, None)], |spec| spec.slow_start = Some(Duration::from_secs(3600)));
    scene.publish();
    assert_eq!(scene.counts(100), [50, 50], "all are new: none is");
    // As if the other had been there for ever: a slow start that is over at once.
    let whole = scene.endpoint(1);
    let deadline = Instant::now() + Duration::from_secs(10);
    while whole.conduct.there_for() < Duration::from_millis(20) {
        assert!(Instant::now() < deadline);
    }
    scene.endpoint(0).conduct.begin_anew();
    let scene_rules = Rules { slow_start: Some(Duration::from_millis(20)), ..*scene.balancer.rules() };
    let roster = scene.balancer.moving().unwrap().now();
    let standing = Standing::new(Arc::clone(&roster.roster), &scene_rules);
    let (new, old) = (standing.weights[0], standing.weights[1]);
    assert!(old == 1000 && (100..=1000).contains(&new), "{new} of {old}");
}
