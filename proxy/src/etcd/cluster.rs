//! The cluster: who its members are, and how the one that we speak with is.

use super::{
    Client, Error, Header, Repeat,
    wire::{self, cluster_client::ClusterClient, maintenance_client::MaintenanceClient},
};

/// A member of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its number.
    pub id: u64,
    /// Its name; empty before it has started for the first time.
    pub name: String,
    /// Where it says that clients reach it.
    pub client_urls: Vec<String>,
    /// Whether it only learns, and answers nobody.
    pub is_learner: bool,
}

/// How a member is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberStatus {
    /// Who answered.
    pub header: Header,
    /// Of etcd.
    pub version: String,
    /// The member that leads; 0 where there is none.
    pub leader: u64,
    /// The size of its database.
    pub database_bytes: i64,
    /// What is wrong with it, in its own words.
    pub errors: Vec<String>,
}

impl Client {
    /// Who the members are.
    ///
    /// # Errors
    /// See [`Kind`](super::Kind).
    pub async fn members(&self) -> Result<Vec<Member>, Error> {
        let send = |channel, request| async move { ClusterClient::new(channel).member_list(request).await };
        let answer = self.call(wire::MemberListRequest {}, Repeat::Safe, send).await?;
        let member = |member: wire::Member| Member {
            id: member.id,
            name: member.name,
            client_urls: member.client_urls,
            is_learner: member.is_learner,
        };
        Ok(answer.members.into_iter().map(member).collect())
    }

    /// How the member is that this client speaks with.
    ///
    /// # Errors
    /// See [`Kind`](super::Kind).
    pub async fn status(&self) -> Result<MemberStatus, Error> {
        let send = |channel, request| async move { MaintenanceClient::new(channel).status(request).await };
        let answer = self.call(wire::StatusRequest {}, Repeat::Safe, send).await?;
        Ok(MemberStatus {
            header: answer.header.into(),
            version: answer.version,
            leader: answer.leader,
            database_bytes: answer.db_size,
            errors: answer.errors,
        })
    }

    /// Reads the list of members and remembers where they are. Happens by itself with requests, every
    /// [`Options::sync_interval`](super::Options::sync_interval); a client that only watches may ask for it.
    ///
    /// # Errors
    /// See [`Kind`](super::Kind).
    pub async fn sync(&self) -> Result<(), Error> {
        let members = self.members().await?;
        let able = members.into_iter().filter(|member| !member.is_learner);
        self.0.links.found(able.flat_map(|member| member.client_urls));
        Ok(())
    }
}
