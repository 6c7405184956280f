//! Renders where routes lead. Upstreams named in place are called after their addresses.

use super::{Fields, Out, Written, middleware, route::remark, texts};
use crate::config::spec::{Destination, Spec, Target};

/// The targets of a route, in their shortest form.
pub(super) fn targets(fields: &mut Fields<'_>, spec: &Spec, targets: &[Target]) {
    let plain = match targets {
        [] => return,
        [Target { to: Destination::Upstream(upstream), weight: 1, middleware }] if middleware.is_empty() => upstream,
        several => {
            let written = fields.written("targets");
            let each = several.iter().enumerate().map(|(at, one)| target(spec, written.item(at), one));
            let each = each.collect();
            fields.put("targets", Out::List(each));
            return;
        }
    };
    if plain.contains(':') {
        let addresses: Vec<&str> = plain.split(',').collect();
        fields.put("target", if addresses.len() == 1 { Out::text(plain) } else { texts(addresses) });
        remark(fields, &["target", "targets"]);
    } else {
        fields.put("upstream", Out::text(plain));
        remark(fields, &["upstream", "targets"]);
    }
}

fn target(spec: &Spec, written: Written<'_>, target: &Target) -> Out {
    let mut fields = Vec::new();
    match &target.to {
        Destination::Upstream(name) => {
            let field = if name.contains(':') { "address" } else { "upstream" };
            fields.push((field.into(), Out::text(name), None));
        }
        Destination::Nowhere { status, because } => {
            fields.push(("fails".into(), Out::plain(status), None));
            fields.push(("because".into(), Out::text(because), None));
        }
    }
    fields.push(("weight".into(), Out::plain(target.weight), None));
    if !target.middleware.is_empty() {
        let steps = middleware::steps(spec, written.field(&["middleware"]), &target.middleware);
        fields.push(("middleware".into(), steps, None));
    }
    Out::Map(fields)
}
