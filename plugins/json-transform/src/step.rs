//! One change to a document: what an operator writes of it, and making it. Knows no HTTP.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use tidegate_guest::{Problem, Problems};

use crate::{
    node::{Member, Node, quoted},
    path::{Level, Path, index},
};

/// One step: exactly one of `remove`, `rename`, `mask` and `add`, each a path.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct StepSettings {
    /// Removes what the path leads to.
    remove: Option<String>,
    /// Gives the member that the path leads to the name `to`; a member that has that name goes.
    rename: Option<String>,
    /// Puts `***` in place of what the path leads to, unless it is null.
    mask: Option<String>,
    /// Sets what the path leads to to `value`, and makes the objects on the way to it.
    add: Option<String>,
    /// With `rename`: the new name.
    to: Option<String>,
    /// With `mask`: how many of the last characters stay, where there are at least twice as many.
    keep_last: Option<u8>,
    /// With `add`: any JSON.
    #[serde(default, deserialize_with = "some")]
    value: Option<Value>,
    /// With `add`: leave what is there already.
    if_absent: Option<bool>,
}

// `value: null` is a value.
fn some<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// A step that was checked.
#[derive(Debug)]
pub(crate) enum Step {
    Remove(Path),
    Rename { path: Path, key: String, to: String },
    Mask { path: Path, keep_last: usize },
    Add { path: Path, value: String, if_absent: bool },
}

impl StepSettings {
    /// The step, or what is wrong with it; `at` is where it stands.
    pub(crate) fn check(self, at: &str, problems: &mut Problems) -> Option<Step> {
        let kinds = [("remove", &self.remove), ("rename", &self.rename), ("mask", &self.mask), ("add", &self.add)];
        let given: Vec<_> = kinds.iter().filter_map(|(kind, path)| Some((*kind, path.as_deref()?))).collect();
        let [(kind, text)] = given[..] else {
            let what = if given.is_empty() { "one" } else { "only one" };
            problems.push(Problem::at(at, format!("{what} of `remove`, `rename`, `mask` and `add` is needed")));
            return None;
        };
        let path = match Path::parse(text) {
            Ok(path) => path,
            Err(why) => {
                problems.push(Problem::at(format!("{at}/{kind}"), why));
                return None;
            }
        };
        let extras = [
            ("to", self.to.is_some(), "rename"),
            ("keep-last", self.keep_last.is_some(), "mask"),
            ("value", self.value.is_some(), "add"),
            ("if-absent", self.if_absent.is_some(), "add"),
        ];
        for (field, given, owner) in extras {
            if given && owner != kind {
                problems.push(Problem::at(format!("{at}/{field}"), format!("belongs to `{owner}`, not to `{kind}`")));
            }
        }
        match kind {
            "remove" => Some(Step::Remove(path)),
            "mask" => Some(Step::Mask { path, keep_last: self.keep_last.unwrap_or(0).into() }),
            "rename" => {
                if !matches!(path.last, Level::Name(_)) {
                    problems.push(Problem::at(format!("{at}/rename"), "must end in a name: many cannot have one name"));
                }
                let Some(to) = self.to else {
                    problems.push(Problem::at(at, "`rename` needs `to`, the new name"));
                    return None;
                };
                Some(Step::Rename { path, key: quoted(&to), to })
            }
            _ => {
                let Some(value) = self.value else {
                    problems.push(Problem::at(at, "`add` needs a `value`"));
                    return None;
                };
                Some(Step::Add { path, value: value.to_string(), if_absent: self.if_absent.unwrap_or(false) })
            }
        }
    }
}

/// What stands in place of a masked value.
const MASK: &str = "***";

impl Step {
    /// Makes the change; answers whether there was one.
    pub(crate) fn apply<'a>(&'a self, root: &mut Node<'a>) -> bool {
        let mut changed = false;
        match self {
            Self::Remove(path) => path.visit(root, &mut |parent, last| changed |= remove(parent, last)),
            Self::Rename { path, key, to } => {
                path.visit(root, &mut |parent, last| changed |= rename(parent, last, key, to));
            }
            Self::Mask { path, keep_last } => path.visit(root, &mut |parent, last| {
                for child in held(parent, last) {
                    changed |= mask(child, *keep_last);
                }
            }),
            Self::Add { path, value, if_absent } => {
                changed = add(root, &path.parents, &path.last, (value, *if_absent));
            }
        }
        changed
    }
}

fn remove(parent: &mut Node, last: &Level) -> bool {
    let length = |node: &Node| match node {
        Node::Object(members) => members.len(),
        Node::Array(elements) => elements.len(),
        Node::Scalar(_) => 0,
    };
    let before = length(parent);
    match (&mut *parent, last) {
        (Node::Object(members), Level::Name(name)) => members.retain(|member| !member.is(name)),
        (Node::Array(elements), Level::Name(name)) => {
            if let Some(index) = index(name).filter(|index| *index < elements.len()) {
                elements.remove(index);
            }
        }
        (Node::Object(members), _) => members.clear(),
        (Node::Array(elements), _) => elements.clear(),
        (Node::Scalar(_), _) => {}
    }
    length(parent) < before
}

fn rename(parent: &mut Node, last: &Level, key: &str, to: &str) -> bool {
    let (Node::Object(members), Level::Name(name)) = (parent, last) else { return false };
    if name == to || !members.iter().any(|member| member.is(name)) {
        return false;
    }
    members.retain(|member| !member.is(to));
    for member in members.iter_mut().filter(|member| member.is(name)) {
        member.key = Cow::Owned(key.to_owned());
    }
    true
}

fn mask(node: &mut Node, keep_last: usize) -> bool {
    if matches!(node, Node::Scalar(text) if text == "null") {
        return false;
    }
    let masked = {
        let text = node.text().unwrap_or_default();
        let length = text.chars().count();
        let kept = if length >= 2 * keep_last { keep_last } else { 0 };
        MASK.chars().chain(text.chars().skip(length - kept)).collect::<String>()
    };
    *node = Node::string(&masked);
    true
}

// Follows names, and makes the objects that are missing; from the first level that is none on, only what is there counts.
fn add<'a>(node: &mut Node<'a>, parents: &'a [Level], last: &'a Level, (value, if_absent): (&'a str, bool)) -> bool {
    let Some((level, rest)) = parents.split_first() else { return set(node, last, value, if_absent) };
    if let (Node::Object(members), Level::Name(name)) = (&mut *node, level)
        && !members.iter().any(|member| member.is(name))
        && rest.iter().chain([last]).all(|level| matches!(level, Level::Name(_)))
    {
        members.push(Member { key: Cow::Owned(quoted(name)), value: Node::Object(Vec::new()) });
    }
    let mut changed = false;
    let path = Path { parents: vec![level.clone()], last: Level::Any };
    if matches!(level, Level::Deep) {
        let here = Path { parents: parents.to_vec(), last: last.clone() };
        here.visit(node, &mut |parent, _| changed |= set(parent, last, value, if_absent));
    } else {
        path.visit(node, &mut |child, _| changed |= add(child, rest, last, (value, if_absent)));
    }
    changed
}

fn set<'a>(parent: &mut Node<'a>, last: &'a Level, value: &'a str, if_absent: bool) -> bool {
    let there: Vec<_> = held(parent, last).collect();
    if !there.is_empty() {
        if !if_absent {
            there.into_iter().for_each(|node| *node = Node::Scalar(Cow::Borrowed(value)));
        }
        return !if_absent;
    }
    match (parent, last) {
        (Node::Object(members), Level::Name(name)) => {
            let value = Node::Scalar(Cow::Borrowed(value));
            members.push(Member { key: Cow::Owned(quoted(name)), value });
            true
        }
        (Node::Array(elements), Level::Name(name)) if name == "-" => {
            elements.push(Node::Scalar(Cow::Borrowed(value)));
            true
        }
        _ => false,
    }
}

// What the last level of a path leads to.
fn held<'n, 'a>(parent: &'n mut Node<'a>, last: &'n Level) -> impl Iterator<Item = &'n mut Node<'a>> {
    let (members, elements): (&mut [Member], &mut [Node]) = match parent {
        Node::Object(members) => (members.as_mut_slice(), &mut []),
        Node::Array(elements) => (&mut [], elements.as_mut_slice()),
        Node::Scalar(_) => (&mut [], &mut []),
    };
    let wanted = match last {
        Level::Name(name) => Some(name.as_str()),
        Level::Any | Level::Deep => None,
    };
    let number = wanted.map(index);
    let members = members.iter_mut().filter(move |member| wanted.is_none_or(|name| member.is(name)));
    let elements = elements.iter_mut().enumerate();
    let elements = elements.filter(move |(position, _)| number.is_none_or(|number| number == Some(*position)));
    members.map(|member| &mut member.value).chain(elements.map(|(_, element)| element))
}
