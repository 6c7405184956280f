//! Python's own gRPC (PyPI: grpcio) at both ends, in clear and over TLS. It is installed by `scripts/grpcio.sh` below the target
//! directory; where that cannot be done, the test says why and shows nothing.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use tidegate_tests::{Authority, ConfigDir, Gateway};

/// The interpreter that has it, or why there is none.
fn interpreter() -> Result<PathBuf, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests are in the project");
    let output = Command::new(root.join("scripts/grpcio.sh")).arg(env!("CARGO_TARGET_TMPDIR")).output();
    let output = output.map_err(|error| error.to_string())?;
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() { Ok(said(&output.stdout).into()) } else { Err(said(&output.stderr)) }
}

/// A server that ends with the value.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn server(python: &Path, script: &Path) -> (Server, u16) {
    let mut command = Command::new(python);
    command.arg(script).arg("server").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("an interpreter starts");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("it is piped")).read_line(&mut line).expect("it says its port");
    (Server(child), line.trim().parse().expect("a port"))
}

#[tokio::test]
async fn calls_of_pythons_library_pass() {
    let python = match tokio::task::spawn_blocking(interpreter).await.unwrap() {
        Ok(python) => python,
        Err(why) => return eprintln!("skipped, because grpcio cannot be installed: {why}"),
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/grpcio_calls.py");
    let (_server, port) = server(&python, &script);
    let (authority, dir) = (Authority::new(), ConfigDir::new().with("port", port));
    let issued = authority.issue(&["grpc.test"]);
    dir.write("tls/site.pem", &issued.pem);
    dir.write("tls/site.key", &issued.key);
    dir.write(
        "gateway.yaml",
        "
listeners:
  web: {address: '127.0.0.1:0'}
  secure: {address: '127.0.0.1:0', tls: {certificates: [{certificate: tls/site.pem, key: tls/site.key}]}}
upstreams:
  python: {endpoints: ['127.0.0.1:{port}'], protocol: h2c}
  nobody: {endpoints: ['127.0.0.1:1'], protocol: h2c}
routes:
  - {id: python, path: /test.Python/*, upstream: python}
  - {id: nobody, path: /test.Nobody/*, upstream: nobody}
",
    );
    let gateway = Gateway::start(&dir).await;
    let ca = dir.beside("ca.pem");
    std::fs::write(&ca, &authority.pem).unwrap();
    for (listener, ca) in [("web", None), ("secure", Some(&ca))] {
        let mut command = Command::new(&python);
        command.arg(&script).arg("client").arg(gateway.listener(listener).to_string()).args(ca);
        let output =
            tokio::task::spawn_blocking(move || command.output().expect("an interpreter starts")).await.unwrap();
        assert!(output.status.success(), "{listener}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
