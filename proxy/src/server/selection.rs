//! Tables that choose by themselves: asked in their order, before a request goes on. The first whose choice matches
//! the request decides; where none does, or one fails, the route that was matched serves.

use std::{cell::Cell, time::Instant};

use super::{
    admit::Admitted,
    exchange::{Arrived, route_head},
};
use crate::{exchange::Asked, telemetry::trace};

/// Puts a request on the plan that a table chooses for it, if one does.
pub(super) async fn choose(mut arrived: Box<Arrived>) -> Box<Arrived> {
    let (snapshot, exchange) = (arrived.snapshot.clone(), arrived.exchange.clone());
    let Some(listener) = snapshot.shared().listeners.get(&exchange.connection.listener) else { return arrived };
    let section = listener.section(arrived.admitted.as_ref().map_or("", Admitted::host));
    for selection in &section.selections {
        let Ok(admitted) = &arrived.admitted else { break };
        let head = route_head(&arrived.head, admitted.host());
        if !selection.is_for(head.host) {
            continue;
        }
        let nothing = http::Request::new(()).into_parts().0;
        let asked = Asked {
            head: std::mem::replace(&mut arrived.head, nothing),
            authority: admitted.known.authority.clone(),
            client: exchange.client,
            secure: exchange.secure,
            listener: exchange.connection.listener.clone(),
            generation: exchange.generation(),
        };
        let span = trace::begin_plugin(&exchange, &selection.label, "select");
        let began = Instant::now();
        let (asked, chosen) = selection.select.select(&exchange.worker, asked).await;
        trace::end_plugin(span, || None);
        exchange.record.spend(&Cell::new(None), &selection.label, began.elapsed());
        arrived.head = asked.head;
        let Some(name) = chosen else { continue };
        if let Some(plan) = selection.find(&name, &route_head(&arrived.head, admitted.host())) {
            arrived.plan = arrived.snapshot.plan(plan);
            arrived.life.reroute(&arrived.plan);
            arrived.chosen = true;
            break;
        }
    }
    arrived
}
