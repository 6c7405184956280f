//! Certificates for etcd and its clients, made afresh for each test and signed by an authority of its own.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};

/// An authority, a server and a client, as files in a folder.
#[derive(Debug)]
pub struct Certificates {
    folder: PathBuf,
}

impl Certificates {
    pub(super) fn new(folder: &Path) -> Self {
        let certificates = Self { folder: folder.to_owned() };
        certificates.rotate();
        certificates
    }

    /// Replaces all of them, the authority included.
    pub fn rotate(&self) {
        let key = KeyPair::generate().expect("keys can be made");
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.distinguished_name.push(DnType::CommonName, "the authority of a test");
        let pem = authority.self_signed(&key).expect("it signs itself").pem();
        self.write("ca.pem", &pem);
        let issuer = Issuer::new(authority, key);
        for (name, purpose) in
            [("server", ExtendedKeyUsagePurpose::ServerAuth), ("client", ExtendedKeyUsagePurpose::ClientAuth)]
        {
            let key = KeyPair::generate().expect("keys can be made");
            let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
            let mut params = CertificateParams::new(names).expect("these are names");
            params.distinguished_name.push(DnType::CommonName, name);
            // etcd's own JSON endpoint is a client of its server, with the server's certificate.
            params.extended_key_usages = vec![purpose, ExtendedKeyUsagePurpose::ClientAuth];
            let certificate = params.signed_by(&key, &issuer).expect("the authority signs");
            self.write(&format!("{name}.pem"), &certificate.pem());
            self.write(&format!("{name}.key"), &key.serialize_pem());
        }
    }

    /// Who signed the others.
    pub fn ca(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// A client's certificate and its key.
    pub fn client(&self) -> (PathBuf, PathBuf) {
        (self.folder.join("client.pem"), self.folder.join("client.key"))
    }

    pub(super) fn flags(&self) -> Vec<String> {
        let file = |flag: &str, name: &str| format!("--{flag}={}", self.folder.join(name).display());
        let mut flags = vec!["--client-cert-auth".to_owned()];
        flags.push(file("trusted-ca-file", "ca.pem"));
        flags.push(file("cert-file", "server.pem"));
        flags.push(file("key-file", "server.key"));
        flags
    }

    fn write(&self, name: &str, text: &str) {
        let staged = self.folder.join("staged");
        fs::write(&staged, text).expect("a file can be written");
        fs::rename(staged, self.folder.join(name)).expect("a rename within a folder succeeds");
    }
}
