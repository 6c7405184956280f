//! Plugins of others, as they are: the list of those that were tried, what each is asked, and the comparison with Envoy. Their
//! modules are not in this repository: they are looked for in the folder that `TIDEGATE_PUBLIC` names, and those that are not
//! there are left out.

use std::{fs, path::PathBuf};

use tidegate_tests::{ConfigDir, Gateway, Origin, WEB, envoy};

use super::{
    envoy::{Subject, compare},
    rows::{Ask, ask},
};

/// One of them.
pub(super) struct Plugin {
    pub(super) name: String,
    /// Where it is published, and what it was made with.
    pub(super) source: String,
    config: String,
    over: Option<String>,
    asks: Vec<Ask>,
    pub(super) differs: Option<String>,
    /// Why it is not compared.
    pub(super) alone: Option<String>,
}

impl Plugin {
    fn module(&self) -> Option<Vec<u8>> {
        let folder = std::env::var_os("TIDEGATE_PUBLIC").map(PathBuf::from)?;
        fs::read(folder.join(format!("{}.wasm", self.name))).ok()
    }

    // As a host's name has it.
    fn host(&self) -> String {
        self.name.replace('_', "-")
    }
}

/// The list, `tests/tables/public.txt`. Its head says what the lines mean.
pub(super) fn plugins() -> Vec<Plugin> {
    let mut plugins: Vec<Plugin> = Vec::new();
    let text = include_str!("../../tables/public.txt");
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (word, rest) = line.split_once(' ').unwrap_or_else(|| panic!("one word alone: {line}"));
        if word == "plugin" {
            let (name, source) = rest.split_once(" — ").unwrap_or_else(|| panic!("it does not say whence: {line}"));
            plugins.push(Plugin {
                name: name.into(),
                source: source.into(),
                config: String::new(),
                over: None,
                asks: Vec::new(),
                differs: None,
                alone: None,
            });
            continue;
        }
        let plugin = plugins.last_mut().unwrap_or_else(|| panic!("before the first plugin: {line}"));
        match word {
            "config" => plugin.config = rest.replace("\\n", "\n"),
            "over" => plugin.over = Some(rest.to_owned()),
            "ask" => plugin.asks.push(ask(rest)),
            "differs" => plugin.differs = Some(rest.to_owned()),
            "alone" => plugin.alone = Some(rest.to_owned()),
            _ => panic!("not understood: {line}"),
        }
    }
    plugins
}

#[tokio::test]
async fn plugins_of_others_do_here_what_they_do_in_envoy() {
    let Some(binary) = envoy::binary() else { return };
    let compared = plugins().into_iter().filter(|plugin| plugin.alone.is_none());
    let subjects: Vec<_> = compared
        .filter_map(|plugin| {
            Some(Subject {
                module: plugin.module()?,
                name: plugin.host(),
                configuration: plugin.config,
                asks: plugin.asks,
                over: plugin.over,
                differs: plugin.differs,
            })
        })
        .collect();
    // Some at a time: Envoy compiles all of them before it answers.
    for some in subjects.chunks(8) {
        compare(&binary, some).await;
    }
}

#[tokio::test]
async fn plugins_of_others_that_envoy_has_no_answer_for_are_loaded() {
    for plugin in plugins().into_iter().filter(|plugin| plugin.alone.is_some()) {
        let Some(module) = plugin.module() else { continue };
        let origin = Origin::start();
        let dir = ConfigDir::new().with("origin", origin.address());
        dir.write_bytes("guest.wasm", &module);
        let yaml = format!(
            "{WEB}
upstreams: {{origin: {{endpoints: ['{{origin}}']}}}}
middleware: {{plugin: {{module: guest.wasm, config: {:?}, grants: {{upstreams: [origin]}}}}}}
routes: [{{id: all, path: /*, middleware: [plugin], upstream: origin}}]
",
            plugin.config
        );
        dir.write("gateway.yaml", &yaml);
        let gateway = Gateway::start(&dir).await;
        for ask in &plugin.asks {
            let answer = gateway.http1().await.get(&ask.target).await;
            assert_eq!(answer.status, 200, "{}: {}", plugin.name, answer.text());
        }
    }
}
