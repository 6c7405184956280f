//! Every folder of `examples/` starts as it is, and does what the commands of its README say: each line
//! `curl -i [-H 'name: value'] URL  # STATUS [TEXT]` is asked, and TEXT stands in the head or body of the answer.

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use tidegate_tests::{ConfigDir, Process, Raw, free_address, soon};
use tokio::net::TcpStream;

#[tokio::test]
async fn every_example_does_what_its_readme_says() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut examples: Vec<_> = fs::read_dir(top.join("examples")).unwrap().map(|entry| entry.unwrap().path()).collect();
    examples.sort();
    assert!(examples.len() >= 2, "{examples:?}");
    for example in examples {
        exercise(&example, &top.join("plugins/dist")).await;
    }
}

async fn exercise(example: &Path, plugins: &Path) {
    let name = example.file_name().unwrap().to_string_lossy();
    let readme = fs::read_to_string(example.join("README.md")).unwrap_or_else(|error| panic!("{name}: {error}"));
    // Fixed ports are for people; a test takes what is free.
    let mut ports = BTreeMap::new();
    let dir = ConfigDir::new();
    for file in documents(example) {
        let text = moved(&fs::read_to_string(&file).unwrap(), &mut ports);
        for module in text.split("module: plugins/").skip(1).filter_map(|rest| rest.split([',', '}', '\n', ' ']).next())
        {
            let bytes = fs::read(plugins.join(module))
                .unwrap_or_else(|error| panic!("{name}: {module}: {error} (make plugins)"));
            dir.write_bytes(&format!("plugins/{module}"), &bytes);
        }
        dir.write(&file.strip_prefix(example).unwrap().to_string_lossy(), &text);
    }
    let readme = moved(&readme, &mut ports);
    let (path, admin) = (dir.path().display().to_string(), free_address().to_string());
    let process = Process::start(&["run", "--config", &path, "--admin", &admin, "--workers", "2"]);
    for address in ports.values() {
        let listens = format!("{name} listens on {address}: {:?}", process.said());
        soon(&listens, async || TcpStream::connect(address).await.is_ok()).await;
    }
    let mut asked = 0;
    for line in readme.lines().filter(|line| line.starts_with("curl -i ")) {
        ask(&name, line).await;
        asked += 1;
    }
    assert!(asked > 0, "{name}: its README asks nothing");
}

async fn ask(example: &str, line: &str) {
    let (command, expected) = line.split_once('#').unwrap_or_else(|| panic!("{example}: {line}: says no answer"));
    let (address, path) = command.split_once("http://").and_then(|(_, url)| url.trim().split_once('/')).unwrap();
    let mut fields: Vec<_> = command.split('\'').skip(1).step_by(2).map(str::to_owned).collect();
    if !fields.iter().any(|field| field.starts_with("host:")) {
        fields.push(format!("host: {address}"));
    }
    let mut raw = Raw::connect(address.parse().unwrap()).await;
    raw.send(format!("GET /{path} HTTP/1.1\r\n{}\r\n\r\n", fields.join("\r\n"))).await;
    let response = raw.response("GET").await.unwrap_or_else(|| panic!("{example}: {line}: no answer"));
    let (status, text) = expected.trim().split_once(' ').unwrap_or((expected.trim(), ""));
    let head: String = response.head.fields.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
    let all = format!("{head}\n{}", String::from_utf8_lossy(&response.body.bytes));
    assert_eq!(response.head.status().to_string(), status, "{example}: {line}\n{all}");
    assert!(all.contains(text), "{example}: {line}\n{all}");
}

fn documents(example: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(example).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|kind| kind == "yaml" || kind == "wat")).collect()
}

/// The text with every `127.0.0.1:PORT` replaced by an address that is free, the same for the same port.
fn moved(text: &str, ports: &mut BTreeMap<String, SocketAddr>) -> String {
    let mut parts = text.split("127.0.0.1:");
    let mut moved = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (port, rest) = part.split_at(part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len()));
        let address = *ports.entry(port.to_owned()).or_insert_with(free_address);
        moved += &format!("{address}{rest}");
    }
    moved
}
