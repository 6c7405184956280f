//! Every folder of `examples/` starts as it is and answers as its `requests.txt` says, a request a line, sent to port 8080:
//! `METHOD http://HOST/PATH [name: value]… => STATUS ["text in the body"] [name: value]…`.

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use tidegate_tests::{ConfigDir, Process, Raw, free_address, soon};
use tokio::net::TcpStream;

#[tokio::test]
async fn every_example_answers_as_it_says() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let entries = fs::read_dir(top.join("examples")).unwrap().map(|entry| entry.unwrap().path());
    // The plugin in several languages is no scenario; `languages` runs it.
    let mut examples: Vec<_> = entries.filter(|path| path.is_dir() && !path.ends_with("plugins")).collect();
    examples.sort();
    assert!(examples.len() >= 2, "{examples:?}");
    for example in examples {
        exercise(&example, &top.join("plugins/dist")).await;
    }
}

async fn exercise(example: &Path, plugins: &Path) {
    let name = example.file_name().unwrap().to_string_lossy();
    assert!(example.join("README.md").exists(), "{name} has a README");
    // Fixed ports are for people; a test takes what is free.
    let mut ports = BTreeMap::new();
    let dir = ConfigDir::new();
    for file in documents(example) {
        let text = moved(&fs::read_to_string(&file).unwrap(), &mut ports);
        for module in text.split("module: plugins/").skip(1).filter_map(|rest| rest.split([',', '}', '\n', ' ']).next())
        {
            let bytes = fs::read(plugins.join(module));
            let bytes = bytes.unwrap_or_else(|error| panic!("{name}: {module}: {error} (make plugins)"));
            dir.write_bytes(&format!("plugins/{module}"), &bytes);
        }
        dir.write(&file.strip_prefix(example).unwrap().to_string_lossy(), &text);
    }
    let (path, admin) = (dir.path().display().to_string(), free_address().to_string());
    let process = Process::start(&["run", "--config", &path, "--admin", &admin, "--workers", "2"]);
    let web = ports["8080"];
    for address in ports.values() {
        let listens = format!("{name} listens on {address}: {:?}", process.said());
        soon(&listens, async || TcpStream::connect(address).await.is_ok()).await;
    }
    let requests = fs::read_to_string(example.join("requests.txt")).unwrap_or_else(|error| panic!("{name}: {error}"));
    let requests = requests.lines().filter(|line| line.contains("=>")).collect::<Vec<_>>();
    assert!(!requests.is_empty(), "{name}: requests.txt asks nothing");
    for line in requests {
        ask(web, line, &format!("{name}: {line}")).await;
    }
}

async fn ask(web: SocketAddr, line: &str, case: &str) {
    let (asked, expected) = line.split_once("=>").unwrap();
    let (start, fields) = words(asked);
    let (method, url) = start.split_once(' ').unwrap();
    let (host, path) = url.trim_start_matches("http://").split_once('/').unwrap();
    let fields: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let mut raw = Raw::connect(web).await;
    raw.send(format!("{method} /{path} HTTP/1.1\r\nhost: {host}\r\n{fields}\r\n")).await;
    let response = raw.response(method).await.unwrap_or_else(|| panic!("{case}: no answer"));

    let body = String::from_utf8_lossy(&response.body.bytes).into_owned();
    let (before, rest) = expected.split_once('"').unwrap_or((expected, "\""));
    let (text, after) = rest.rsplit_once('"').unwrap();
    let (status, fields) = words(&format!("{before} {after}"));
    assert_eq!(response.head.status().to_string(), status, "{case}\n{body}");
    assert!(body.contains(text), "{case}\n{body}");
    for (name, value) in fields {
        assert_eq!(response.head.field(&name).as_deref(), Some(value.as_str()), "{case}: {name}");
    }
}

/// The words before the first `name:`, and the fields that follow, each value up to the next name.
fn words(text: &str) -> (String, Vec<(String, String)>) {
    let (mut start, mut fields) = (Vec::new(), Vec::<(String, Vec<&str>)>::new());
    for word in text.split_whitespace() {
        match (word.strip_suffix(':'), fields.last_mut()) {
            (Some(name), _) => fields.push((name.to_owned(), Vec::new())),
            (None, Some((_, value))) => value.push(word),
            (None, None) => start.push(word),
        }
    }
    (start.join(" "), fields.into_iter().map(|(name, value)| (name, value.join(" "))).collect())
}

/// Every document and text module below a folder, built plugins aside.
fn documents(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            found.extend(documents(&path));
        } else if path.extension().is_some_and(|kind| kind == "yaml" || kind == "json" || kind == "wat") {
            found.push(path);
        }
    }
    found
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
