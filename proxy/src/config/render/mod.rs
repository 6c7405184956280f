//! The resolved configuration as YAML that reads back as the same: every default filled in, layers merged. With
//! remarks that say which line set a value. A text that names secrets is shown as it was written, never resolved.

mod admission;
mod balance;
mod builtin;
mod http3;
mod middleware;
mod modules;
mod proxied;
mod retry;
mod route;
mod sections;
mod table;
mod target;
mod tls;
mod tracing;
mod yaml;

use std::{collections::HashMap, sync::Arc};

use imbl::Vector;

use super::{
    document::{Kind, Object},
    node::{Node, Value},
    spec::Spec,
};
use yaml::Out;

/// Where the objects of a configuration were written. Opaque: for [`yaml`] alone.
#[derive(Clone, Default)]
pub struct Origins(pub(super) Vector<Arc<Object>>);

impl std::fmt::Debug for Origins {
    // Documents hold what is written in them, secrets perhaps too.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Origins({})", self.0.len())
    }
}

/// `spec` as one YAML document; the routes that tables yielded follow as remarks. With `explain`, each value says the file and line that set it, or that it is a
/// default.
pub fn yaml(spec: &Spec, explain: bool) -> String {
    let index = spec.origins.0.iter().map(|object| ((object.kind, &*object.name), &**object)).collect();
    let renderer = Renderer { index, explain };
    let mut text = yaml::document(&sections::document(&renderer, spec));
    table::routes(&mut text, spec, explain);
    text
}

struct Renderer<'a> {
    index: HashMap<(Kind, &'a str), &'a Object>,
    explain: bool,
}

/// What was written for a value, where anything was.
#[derive(Clone, Copy)]
struct Written<'a> {
    node: Option<&'a Node>,
    file: &'a str,
    explain: bool,
}

impl<'a> Renderer<'a> {
    /// What was written of an object.
    fn written(&self, kind: Kind, name: &str) -> Written<'a> {
        let object = self.index.get(&(kind, name)).copied();
        Written {
            node: object.map(|object| &object.node),
            file: object.map_or("", |object| &object.file),
            explain: self.explain,
        }
    }

    /// An object under its name, with the line that names it.
    fn named(&self, kind: Kind, name: &str, fields: Fields<'a>) -> (String, Out, Option<String>) {
        let at = self.index.get(&(kind, name)).map(|object| format!("{}:{}", object.file, object.at.line));
        (name.to_owned(), fields.done(), at.filter(|_| self.explain))
    }
}

impl<'a> Written<'a> {
    /// What was written for one of these fields.
    fn field(self, names: &[&str]) -> Self {
        let entries = self.node.map_or(&[][..], Node::entries);
        let found = entries.iter().find(|(key, _)| names.iter().any(|name| key.text.eq_ignore_ascii_case(name)));
        Self { node: found.map(|(_, node)| node), ..self }
    }

    /// What was written for the item at `index`; a single value is a list of one.
    fn item(self, index: usize) -> Self {
        let node = match self.node.map(|node| &node.value) {
            Some(Value::List(items)) => items.get(index),
            _ => self.node.filter(|_| index == 0),
        };
        Self { node, ..self }
    }

    /// `text`, or what was written where that names secrets.
    fn text(self, text: &str) -> Out {
        match self.node.map(|node| &node.value) {
            Some(Value::Text(written)) if written.contains("${") => Out::text(written),
            _ => Out::text(text),
        }
    }

    fn remark(self) -> Option<String> {
        self.explain.then(|| match self.node {
            Some(node) => format!("{}:{}", self.file, node.pos.line),
            None => "default".into(),
        })
    }
}

/// The fields of a map, in order.
struct Fields<'a> {
    written: Written<'a>,
    entries: Vec<(String, Out, Option<String>)>,
}

impl<'a> Fields<'a> {
    fn of(written: Written<'a>) -> Self {
        Self { written, entries: Vec::new() }
    }

    /// Adds a field.
    fn put(&mut self, name: &str, out: Out) {
        let remark = self.written.field(&[name]).remark();
        // The lines of a map say where they are from themselves.
        let remark = remark.filter(|_| !matches!(&out, Out::Map(entries) if !entries.is_empty()));
        self.entries.push((name.to_owned(), out, remark));
    }

    /// Adds a field that has a value.
    fn maybe(&mut self, name: &str, out: Option<Out>) {
        if let Some(out) = out {
            self.put(name, out);
        }
    }

    /// Adds a map that is not empty.
    fn map(&mut self, name: &str, fields: Self) {
        if !fields.entries.is_empty() {
            self.put(name, fields.done());
        }
    }

    /// What was written for a field.
    fn written(&self, name: &str) -> Written<'a> {
        self.written.field(&[name])
    }

    fn done(self) -> Out {
        Out::Map(self.entries)
    }
}

/// A duration, as people write it.
fn period(period: std::time::Duration) -> Out {
    let millis = period.as_millis();
    Out::Scalar(if millis.is_multiple_of(1000) { format!("{}s", millis / 1000) } else { format!("{millis}ms") })
}

/// A limit, or `unlimited`.
fn limit(limit: Option<Out>) -> Out {
    limit.unwrap_or_else(|| Out::text("unlimited"))
}

fn texts(texts: impl IntoIterator<Item = impl ToString>) -> Out {
    Out::List(texts.into_iter().map(|text| Out::text(&text.to_string())).collect())
}
