//! The flags by which etcd is named, and the layers of a configuration in the order in which they were typed. Knows no
//! connection.

use std::path::PathBuf;

use clap::{Arg, ArgMatches, Args, parser::ValueSource};

use crate::{
    etcd::{Options, Password, Tls, User},
    source::etcd::EtcdOptions,
};

/// A prefix of etcd as a layer.
#[derive(Args, Debug)]
pub(super) struct Etcd {
    #[command(flatten)]
    reach: Reach,
    /// Take a prefix without a document for a configuration
    #[arg(long, env = "TIDEGATE_ETCD_ALLOW_EMPTY")]
    etcd_allow_empty: bool,
}

/// How etcd is reached, and which prefix of it is meant.
#[derive(Args, Debug)]
pub(super) struct Reach {
    /// etcd's client addresses: a prefix of it is a layer, above the --config before it and below those behind it
    #[arg(long = "etcd", value_name = "URL", value_delimiter = ',', env = "TIDEGATE_ETCD")]
    etcd: Vec<String>,
    /// The prefix that is read as a directory
    #[arg(long, value_name = "PREFIX", default_value = "/gw/", env = "TIDEGATE_ETCD_PREFIX", value_parser = prefix)]
    etcd_prefix: String,
    /// The user to etcd
    #[arg(long, value_name = "NAME", env = "TIDEGATE_ETCD_USER")]
    etcd_user: Option<String>,
    /// The user's password; better in a file, or in the variable
    #[arg(long, value_name = "TEXT", env = "TIDEGATE_ETCD_PASSWORD", hide_env_values = true, requires = "etcd_user")]
    etcd_password: Option<String>,
    /// A file with the user's password, read anew for every authentication
    #[arg(long, value_name = "FILE", env = "TIDEGATE_ETCD_PASSWORD_FILE", conflicts_with = "etcd_password")]
    etcd_password_file: Option<PathBuf>,
    /// Who signs etcd's certificates, PEM; those that the system trusts if not given
    #[arg(long, value_name = "FILE", env = "TIDEGATE_ETCD_CACERT")]
    etcd_cacert: Option<PathBuf>,
    /// Our certificate for etcd, PEM
    #[arg(long, value_name = "FILE", env = "TIDEGATE_ETCD_CERT", requires = "etcd_key")]
    etcd_cert: Option<PathBuf>,
    /// The key of our certificate, PEM
    #[arg(long, value_name = "FILE", env = "TIDEGATE_ETCD_KEY", requires = "etcd_cert")]
    etcd_key: Option<PathBuf>,
}

/// Of a command that is about a prefix, and has no other layers: it names one.
pub(super) fn required(etcd: Arg) -> Arg {
    etcd.required(true).help("etcd's client addresses").long_help(None)
}

/// One layer of a configuration.
#[derive(Clone, Debug)]
pub enum LayerChoice {
    /// A document, or a directory of them.
    Files(PathBuf),
    /// A prefix of etcd.
    Etcd(Box<EtcdOptions>),
}

impl Etcd {
    fn options(&self) -> Result<Option<EtcdOptions>, String> {
        let options = self.reach.options()?;
        Ok(options.map(|options| EtcdOptions { allow_empty: self.etcd_allow_empty, ..options }))
    }
}

impl Reach {
    /// The prefix; `None` where no address is given.
    ///
    /// # Errors
    /// In words, where a user has no password.
    fn options(&self) -> Result<Option<EtcdOptions>, String> {
        if self.etcd.is_empty() {
            return Ok(None);
        }
        let tls = Tls {
            ca: self.etcd_cacert.clone(),
            cert: self.etcd_cert.clone(),
            key: self.etcd_key.clone(),
            domain: None,
        };
        let has_tls = tls.ca.is_some() || tls.cert.is_some();
        let client = Options {
            endpoints: self.etcd.clone(),
            tls: has_tls.then_some(tls),
            user: self.user()?,
            ..Options::default()
        };
        Ok(Some(EtcdOptions { client, prefix: self.etcd_prefix.clone(), ..EtcdOptions::default() }))
    }

    /// The prefix that a command is about.
    ///
    /// # Errors
    /// In words, where no address is given, or a user has no password.
    pub(super) fn required(&self) -> Result<EtcdOptions, String> {
        self.options()?.ok_or_else(|| "no etcd is named: give --etcd URL, or TIDEGATE_ETCD".to_owned())
    }

    fn user(&self) -> Result<Option<User>, String> {
        let Some(name) = self.etcd_user.clone() else { return Ok(None) };
        let password = match (&self.etcd_password_file, &self.etcd_password) {
            (Some(file), _) => Password::File(file.clone()),
            (None, Some(text)) => Password::Text(text.clone()),
            (None, None) => {
                return Err(format!(
                    "--etcd-user {name} needs a password: --etcd-password-file FILE, or TIDEGATE_ETCD_PASSWORD"
                ));
            }
        };
        Ok(Some(User { name, password }))
    }
}

/// The layers in the order of the flags; etcd from the environment comes last. `typed` are the arguments of the command.
pub(super) fn layers(config: Vec<PathBuf>, etcd: &Etcd, typed: &ArgMatches) -> Result<Vec<LayerChoice>, String> {
    let places = typed.indices_of("config").into_iter().flatten();
    let files = config.into_iter().map(LayerChoice::Files);
    let mut layers: Vec<_> = places.zip(files).collect();
    if let Some(options) = etcd.options()? {
        let is_typed = typed.value_source("etcd") == Some(ValueSource::CommandLine);
        let place = typed.index_of("etcd").filter(|_| is_typed).unwrap_or(usize::MAX);
        layers.push((place, LayerChoice::Etcd(Box::new(options))));
    }
    layers.sort_by_key(|(place, _)| *place);
    Ok(layers.into_iter().map(|(_, layer)| layer).collect())
}

/// Where a gateway says what it serves; `None` for `off`.
///
/// # Errors
/// In words, where that is in a prefix that is followed: then every word would be a change of the configuration.
pub(super) fn outside(status_prefix: String, layers: &[LayerChoice]) -> Result<Option<String>, String> {
    let followed = layers.iter().find_map(|layer| match layer {
        LayerChoice::Etcd(etcd) if status_prefix.starts_with(&etcd.prefix) => Some(&etcd.prefix),
        LayerChoice::Etcd(_) | LayerChoice::Files(_) => None,
    });
    match followed {
        Some(prefix) => Err(format!(
            "--etcd-status-prefix {status_prefix} is in the prefix that is followed ({prefix}); give one beside it"
        )),
        None => Ok(Some(status_prefix).filter(|prefix| prefix != OFF)),
    }
}

/// A prefix for what gateways say, or `off`.
pub(super) fn status_prefix(text: &str) -> Result<String, String> {
    if text == OFF { Ok(text.to_owned()) } else { prefix(text) }
}

const OFF: &str = "off";

/// A prefix, with its `/`.
pub(super) fn prefix(text: &str) -> Result<String, String> {
    match text.trim_end_matches('/') {
        "" => Err("a prefix names a directory: /gw/".into()),
        _ if text.contains("//") => Err("two slashes in a row are no directory".into()),
        directory => Ok(format!("{directory}/")),
    }
}
