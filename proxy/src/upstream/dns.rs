//! Questions to name servers: addresses and services, with the time for which the answer holds. Each question reads the
//! system's settings anew where those count. Knows no endpoints.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::BoxFuture;
use hickory_resolver::{
    TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig},
    net::{NetError, runtime::TokioRuntimeProvider},
    proto::rr::RData,
};

use crate::{
    config::spec::Dns,
    state::{Answer, Found, Question, Resolver},
};

impl Resolver for Dns {
    fn ask<'a>(&'a self, question: &'a Question, known: &'a [Found]) -> BoxFuture<'a, Result<Answer, String>> {
        Box::pin(async move {
            // Each server is asked twice at most, for each name of the search list; no answer takes longer than this.
            let time = self.timeout * ROUNDS_MAX;
            let asked = tokio::time::timeout(time, ask(self, question, known)).await;
            let (found, ttl) = asked.unwrap_or_else(|_| Err("the name servers do not answer".to_owned()))?;
            let found = sorted(found);
            if found.is_empty() {
                return Err("the name has no address".to_owned());
            }
            Ok(Answer { found, ttl: ttl.clamp(self.ttl_min, self.ttl_max) })
        })
    }
}

async fn ask(dns: &Dns, question: &Question, known: &[Found]) -> Result<(Vec<Found>, Duration), String> {
    let Some(resolver) = resolver(dns) else { return system(question).await };
    match question {
        Question::Addresses(name) => {
            let (host, port) = parted(name)?;
            let (addresses, until) = addresses(&resolver, host, port).await?;
            let found = addresses.into_iter().map(|address| Found { address, name: Arc::clone(name), record: None });
            Ok((found.collect(), until.saturating_duration_since(Instant::now())))
        }
        Question::Service(name) => service(&resolver, name, known).await,
    }
}

// Without settings of the system that can be read, the system's own resolver still knows some names; it says no time.
async fn system(question: &Question) -> Result<(Vec<Found>, Duration), String> {
    let Question::Addresses(name) = question else {
        return Err("the system's name servers are not known: name some in `dns.servers`".to_owned());
    };
    let found = tokio::net::lookup_host(&**name).await.map_err(|error| error.to_string())?;
    let found = found.map(|address| Found { address, name: Arc::clone(name), record: None }).collect();
    Ok((found, SYSTEM_TTL))
}

fn resolver(dns: &Dns) -> Option<TokioResolver> {
    let mut builder = if dns.servers.is_empty() {
        TokioResolver::builder_tokio().ok()?
    } else {
        let servers = dns.servers.iter().map(server).collect();
        let config = ResolverConfig::from_parts(None, Vec::new(), servers);
        let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        builder.options_mut().use_hosts_file = ResolveHosts::Never;
        builder
    };
    let options = builder.options_mut();
    options.timeout = dns.timeout;
    options.attempts = 1;
    // What is known is kept by state key, and asked for when its time is over.
    options.cache_size = 0;
    builder.build().ok()
}

fn server(address: &SocketAddr) -> NameServerConfig {
    let mut server = NameServerConfig::udp_and_tcp(address.ip());
    server.connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()]
        .into_iter()
        .map(|mut connection| {
            connection.port = address.port();
            connection
        })
        .collect();
    server
}

async fn addresses(resolver: &TokioResolver, host: &str, port: u16) -> Result<(Vec<SocketAddr>, Instant), String> {
    let answer = resolver.lookup_ip(host).await.map_err(|error| why(&error))?;
    Ok((answer.iter().map(|ip| SocketAddr::new(ip, port)).collect(), answer.valid_until()))
}

// RFC 2782. A target that does not resolve now keeps the addresses that it had.
async fn service(resolver: &TokioResolver, name: &str, known: &[Found]) -> Result<(Vec<Found>, Duration), String> {
    let answer = resolver.srv_lookup(name).await.map_err(|error| why(&error))?;
    let mut until = answer.valid_until();
    let (mut found, mut failure) = (Vec::new(), None);
    for record in answer.answers().iter().take(TARGETS_MAX) {
        let RData::SRV(record) = &record.data else { continue };
        if record.target.is_root() {
            continue;
        }
        let host = record.target.to_ascii();
        let authority: Arc<str> = format!("{}:{}", host.trim_end_matches('.').to_ascii_lowercase(), record.port).into();
        let said = Some((record.weight, record.priority));
        match addresses(resolver, &host, record.port).await {
            Ok((addresses, valid)) => {
                until = until.min(valid);
                let each = addresses.into_iter();
                found.extend(each.map(|address| Found { address, name: Arc::clone(&authority), record: said }));
            }
            Err(why) => {
                failure.get_or_insert(format!("{authority}: {why}"));
                let before = known.iter().filter(|known| known.name == authority);
                found.extend(before.map(|before| Found { record: said, ..before.clone() }));
            }
        }
    }
    match failure {
        Some(why) if found.is_empty() => Err(why),
        _ => Ok((found, until.saturating_duration_since(Instant::now()))),
    }
}

fn why(error: &NetError) -> String {
    if error.is_nx_domain() {
        "there is no such name".to_owned()
    } else if error.is_no_records_found() {
        "the name has no address".to_owned()
    } else {
        format!("the name servers: {error}")
    }
}

fn parted(name: &str) -> Result<(&str, u16), String> {
    let (host, port) = name.rsplit_once(':').ok_or("it has no port")?;
    Ok((host, port.parse().map_err(|_| "its port is no number")?))
}

// Servers turn their answers round; that is no change. Of a record that is there twice, one counts.
fn sorted(mut found: Vec<Found>) -> Vec<Found> {
    found.sort_by(|one, other| (one.address, &one.name).cmp(&(other.address, &other.name)));
    found.dedup_by(|one, other| one.address == other.address);
    found.truncate(ADDRESSES_MAX);
    found
}

const ROUNDS_MAX: u32 = 3;
// What the system's resolver says holds for so long.
const SYSTEM_TTL: Duration = Duration::from_secs(30);
// Further targets of a service are not looked at.
const TARGETS_MAX: usize = 256;
// Further addresses of a name are not used.
const ADDRESSES_MAX: usize = 1024;
