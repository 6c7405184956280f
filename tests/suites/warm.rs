//! What a change costs is in proportion to the change: the first request on a new generation compiles and instantiates
//! nothing, and one changed route among ten thousand re-reads one file and rebuilds one host's table. Counted, not timed.

use tidegate_tests::{ConfigDir, Gateway, Origin, WEB, guests};

const COUNTERS: [&str; 2] = ["tidegate_plugin_instantiations_total", "tidegate_modules_compiled_total"];

#[tokio::test]
async fn the_first_request_on_a_new_generation_compiles_and_instantiates_nothing() {
    let origin = Origin::start();
    let dir = ConfigDir::new().with("origin", origin.address());
    let configuration = |edit: u32| {
        dir.write("stamp.wat", &guests::stamp(edit));
        dir.write(
            "gateway.yaml",
            &format!(
                "{WEB}
upstreams: {{origin: {{endpoints: ['{{origin}}']}}}}
middleware: {{stamp: {{module: stamp.wat, config: {{edit: {edit}}}}}}}
routes: [{{id: all, path: /*, middleware: [stamp], upstream: origin}}]
"
            ),
        );
    };
    configuration(1);
    let gateway = Gateway::start(&dir).await;
    for edit in 1..=5 {
        let mut before = Vec::new();
        for counter in COUNTERS {
            before.push(gateway.metric(counter, "").await);
        }
        assert!(before.iter().all(|count| *count >= f64::from(edit)), "what serves was built: {before:?}");
        // As many connections as make sure that each worker has one.
        for _ in 0..16 {
            let answer = gateway.http1().await.get("/").await;
            assert_eq!(answer.echoed("x-module"), [format!("{edit:08}")]);
        }
        for (counter, before) in COUNTERS.iter().zip(before) {
            assert_eq!(gateway.metric(counter, "").await, before, "{counter} on generation {edit}");
        }
        configuration(edit + 1);
        gateway.apply().await;
    }
}

#[tokio::test]
async fn one_changed_route_among_ten_thousand_files_reparses_one_file_and_rebuilds_one_hosts_table() {
    const ROUTES: usize = 10_000;
    const HOSTS: usize = 500;
    let origin = Origin::start();
    let dir = ConfigDir::new().with("origin", origin.address());
    dir.write("gateway.yaml", &format!("{WEB}upstreams: {{origin: {{endpoints: ['{{origin}}']}}}}\n"));
    let route = |number: usize, edit: u32| {
        let (host, path) = (number % HOSTS, number / HOSTS);
        let step = format!("{{headers: {{response: {{set: {{x-edit: '{edit}'}}}}}}}}");
        let text = format!(
            "routes:\n  - {{id: route-{number}, host: h{host}.example, path: /p{path}, middleware: [{step}], upstream: origin}}\n"
        );
        dir.write(&format!("routes/{:02}/{number}.yaml", number % 64), &text);
    };
    (0..ROUTES).for_each(|number| route(number, 1));
    let gateway = Gateway::start(&dir).await;
    assert_eq!(gateway.status().await["last_attempt"]["work"]["parsed_files"], ROUTES + 1);

    route(4_321, 2);
    gateway.apply().await;
    let status = gateway.status().await;
    let work = &status["last_attempt"]["work"];
    assert_eq!(
        (&work["parsed_files"], &work["host_tables"], &work["rows"]),
        (&1.into(), &1.into(), &1.into()),
        "{work:#}"
    );
    let (host, path) = (4_321 % HOSTS, 4_321 / HOSTS);
    let answer = gateway.http1().await.get(&format!("http://h{host}.example/p{path}")).await;
    assert_eq!((answer.generation(), answer.header("x-edit")), (2, "2"));
    let answer = gateway.http1().await.get("http://h7.example/p3").await;
    assert_eq!((answer.generation(), answer.header("x-edit")), (2, "1"));
}
