//! The flags of the commands that publish to etcd and look at the fleet, with their help. Front door: names that scripts
//! rely on.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Subcommand};

use super::{
    args::{Format, time},
    etcd::{self, Reach},
    publish::PushOptions,
};
use crate::{fleet, publish::Limits};

/// What `push` takes.
#[derive(Args, Debug)]
pub(super) struct Push {
    /// A directory of documents, or one document
    pub(super) dir: PathBuf,
    #[command(flatten)]
    pub(super) etcd: Reach,
    /// A layer that the gateways have below the prefix: checked along, not pushed; may be given again
    #[arg(long, value_name = "FILE_OR_DIR")]
    pub(super) under: Vec<PathBuf>,
    /// A layer that the gateways have above the prefix: checked along, not pushed; may be given again
    #[arg(long, value_name = "FILE_OR_DIR")]
    pub(super) over: Vec<PathBuf>,
    /// Print what differs, and change nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Return when every gateway serves it, or fail with those that do not: for 60s, or as long as said
    #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true, default_missing_value = "60s")]
    #[arg(value_parser = time, conflicts_with = "dry_run")]
    pub(super) wait: Option<Duration>,
    /// Where the gateways say what they serve, for --wait
    #[arg(long, value_name = "PREFIX", default_value = fleet::STATUS_PREFIX, env = "TIDEGATE_ETCD_STATUS_PREFIX")]
    #[arg(value_parser = etcd::prefix)]
    pub(super) etcd_status_prefix: String,
    /// Collect contents that nothing names any more, afterwards
    #[arg(long, conflicts_with = "dry_run")]
    pub(super) gc: bool,
    /// Steps that the etcd server takes in one transaction, its own --max-txn-ops
    #[arg(long, value_name = "N", default_value = "128", value_parser = steps)]
    pub(super) max_txn_ops: usize,
    /// Bytes that the etcd server takes in one request, its own --max-request-bytes
    #[arg(long, value_name = "N", default_value = "1572864", value_parser = request_bytes)]
    pub(super) max_request_bytes: usize,
    /// How the outcome is printed
    #[arg(long, default_value = "text")]
    pub(super) format: Format,
}

impl Push {
    /// What was asked for.
    ///
    /// # Errors
    /// In words, where a user has no password.
    pub(super) fn options(self) -> Result<PushOptions, String> {
        let Self { dir, under, over, dry_run, gc, wait, etcd_status_prefix, .. } = self;
        Ok(PushOptions {
            directory: dir,
            etcd: self.etcd.required()?,
            under,
            over,
            dry_run,
            collect: gc,
            wait,
            status_prefix: etcd_status_prefix,
            limits: Limits { txn_ops_max: self.max_txn_ops, request_bytes_max: self.max_request_bytes },
        })
    }
}

/// What `pull` takes.
#[derive(Args, Debug)]
pub(super) struct Pull {
    /// The directory to make; empty, or not there
    pub(super) dir: PathBuf,
    #[command(flatten)]
    pub(super) etcd: Reach,
    /// Replace a directory that is not empty
    #[arg(long)]
    pub(super) force: bool,
    /// How the outcome is printed
    #[arg(long, default_value = "text")]
    pub(super) format: Format,
}

/// What `gc` takes.
#[derive(Args, Debug)]
pub(super) struct Gc {
    #[command(flatten)]
    pub(super) etcd: Reach,
    /// Only count
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Steps that the etcd server takes in one transaction, its own --max-txn-ops
    #[arg(long, value_name = "N", default_value = "128", value_parser = steps)]
    pub(super) max_txn_ops: usize,
    /// How the outcome is printed
    #[arg(long, default_value = "text")]
    pub(super) format: Format,
}

/// What `fleet` takes.
#[derive(Debug, Subcommand)]
pub(super) enum FleetCommand {
    /// Print which gateway serves what, and which refused what and why
    #[command(after_help = FLEET_EXAMPLES, mut_arg("etcd", etcd::required))]
    Status {
        #[command(flatten)]
        etcd: Reach,
        /// Where the gateways say what they serve
        #[arg(long, value_name = "PREFIX", default_value = fleet::STATUS_PREFIX, env = "TIDEGATE_ETCD_STATUS_PREFIX")]
        #[arg(value_parser = etcd::prefix)]
        etcd_status_prefix: String,
        /// How it is printed
        #[arg(long, default_value = "text")]
        format: Format,
    },
}

pub(super) const PUSH_EXAMPLES: &str = "\
Examples:
  tidegate push gateway/ --etcd http://127.0.0.1:2379 --dry-run
  tidegate push gateway/ --etcd http://127.0.0.1:2379 --wait --gc
  tidegate push site/ --under base/ --etcd https://etcd.example:2379 --etcd-prefix /gw/site/

The prefix becomes what the directory is, in one transaction: documents, and the modules and files that they name. Keys that
are gone from the directory are deleted; keys under leases are left alone.

Exit codes: 0 pushed, or nothing differs, and with --wait every gateway serves it; 1 refused (the findings are printed), or
somebody else pushed meanwhile, or a gateway does not serve it; 2 the arguments make no sense.";

pub(super) const PULL_EXAMPLES: &str = "\
Examples:
  tidegate pull fetched/ --etcd http://127.0.0.1:2379
  tidegate pull gateway/ --force --etcd http://127.0.0.1:2379

Exit codes: 0 done; 1 it could not be done, and the directory is as it was; 2 the arguments make no sense.";

pub(super) const GC_EXAMPLES: &str = "\
Example:
  tidegate gc --etcd http://127.0.0.1:2379 --dry-run

Safe beside pushes: what was uploaded since the last push is spared, for a push under way may name it.

Exit codes: 0 done; 1 it could not be done; 2 the arguments make no sense.";

const FLEET_EXAMPLES: &str = "\
Example:
  tidegate fleet status --etcd http://127.0.0.1:2379

Exit codes: 0 every gateway that follows the prefix serves what is newest; 1 one does not (the table says why), or there is
none, or etcd could not be asked; 2 the arguments make no sense.";

// A chunk of a content fits into the least.
fn request_bytes(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count @ 1_200_000..=1_000_000_000) => Ok(count),
        _ => Err("a number from 1200000 to 1000000000".into()),
    }
}

fn steps(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count @ 64..=1_000_000) => Ok(count),
        _ => Err("a number from 64 to 1000000".into()),
    }
}
