//! Leases: keys that go when nobody keeps them alive.

use super::{
    Client, Error, Kind, Repeat,
    wire::{self, lease_client::LeaseClient},
};

/// A lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Its number, to put keys under.
    pub id: i64,
    /// For how many seconds it lives from now.
    pub ttl_s: i64,
}

/// How long a lease lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeToLive {
    /// Seconds from now.
    pub remaining_s: i64,
    /// Seconds from when it was kept alive last.
    pub granted_s: i64,
}

impl Client {
    /// Makes a lease that lives for `ttl_s` seconds, or a little longer where etcd wants that.
    ///
    /// # Errors
    /// See [`Kind`].
    pub async fn lease_grant(&self, ttl_s: i64) -> Result<Lease, Error> {
        let grant = wire::LeaseGrantRequest { ttl: ttl_s, id: 0 };
        let send = |channel, request| async move { LeaseClient::new(channel).lease_grant(request).await };
        let answer = self.call(grant, Repeat::Never, send).await?;
        Ok(Lease { id: answer.id, ttl_s: answer.ttl })
    }

    /// Lets a lease live for its whole time again, counted from now.
    ///
    /// # Errors
    /// See [`Kind`]; [`Kind::NotFound`] where it has expired.
    pub async fn lease_keep_alive(&self, id: i64) -> Result<Lease, Error> {
        let keep = wire::LeaseKeepAliveRequest { id };
        let send = |channel, request: tonic::Request<wire::LeaseKeepAliveRequest>| async move {
            let (metadata, extensions, keep) = request.into_parts();
            // It must stay open until the answer is there: etcd takes its end for a reason not to answer.
            let outgoing =
                futures_util::StreamExt::chain(futures_util::stream::iter([keep]), futures_util::stream::pending());
            let request = tonic::Request::from_parts(metadata, extensions, outgoing);
            let mut answers = LeaseClient::new(channel).lease_keep_alive(request).await?.into_inner();
            let answer = answers.message().await?;
            answer.map(tonic::Response::new).ok_or_else(|| tonic::Status::unavailable("the stream ended"))
        };
        let answer = self.call(keep, Repeat::Safe, send).await?;
        if answer.ttl <= 0 {
            let endpoint = self.options().urls().join(", ").into();
            return Err(Error::new(Kind::NotFound, &endpoint, format!("the lease {id:x} is not there any more")));
        }
        Ok(Lease { id, ttl_s: answer.ttl })
    }

    /// Ends a lease, and every key under it.
    ///
    /// # Errors
    /// See [`Kind`]; [`Kind::NotFound`] where it has expired.
    pub async fn lease_revoke(&self, id: i64) -> Result<(), Error> {
        let revoke = wire::LeaseRevokeRequest { id };
        let send = |channel, request| async move { LeaseClient::new(channel).lease_revoke(request).await };
        self.call(revoke, Repeat::Never, send).await.map(drop)
    }

    /// How long a lease still lives; `None` where it has expired.
    ///
    /// # Errors
    /// See [`Kind`].
    pub async fn lease_time_to_live(&self, id: i64) -> Result<Option<TimeToLive>, Error> {
        let ask = wire::LeaseTimeToLiveRequest { id, keys: false };
        let send = |channel, request| async move { LeaseClient::new(channel).lease_time_to_live(request).await };
        let answer = self.call(ask, Repeat::Safe, send).await?;
        let alive = TimeToLive { remaining_s: answer.ttl, granted_s: answer.granted_ttl };
        Ok((answer.ttl >= 0).then_some(alive))
    }
}
