//! Path templates (`/users/{id}/posts`) in a trie of segments. A literal segment is tried before a `{name}`, so what
//! matches comes in order of precedence. Knows nothing of what a template leads to.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use smallvec::SmallVec;

/// Values by path template.
#[derive(Clone, Debug)]
pub(super) struct Templates<V>(Vec<Node<V>>);

#[derive(Clone, Debug)]
struct Node<V> {
    literal: HashMap<Box<str>, u32, RandomState>,
    named: Option<u32>,
    value: Option<V>,
}

impl<V> Default for Node<V> {
    fn default() -> Self {
        Self { literal: HashMap::default(), named: None, value: None }
    }
}

impl<V> Default for Templates<V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

/// The form in which templates are compared: names do not count.
pub(super) fn normal(template: &str) -> String {
    let segments: Vec<_> = template.split('/').map(|segment| if is_name(segment) { "{}" } else { segment }).collect();
    segments.join("/")
}

fn is_name(segment: &str) -> bool {
    segment.len() >= 2 && segment.starts_with('{') && segment.ends_with('}')
}

impl<V> Templates<V> {
    /// Adds a template.
    pub(super) fn insert(&mut self, template: &str, value: V) {
        if self.0.is_empty() {
            self.0.push(Node::default());
        }
        let mut at = 0;
        for segment in template.strip_prefix('/').unwrap_or(template).split('/') {
            at = self.child(at, segment);
        }
        self.0[at].value = Some(value);
    }

    fn child(&mut self, at: usize, segment: &str) -> usize {
        let next = u32::try_from(self.0.len()).expect("a configuration has fewer than 2^32 segments");
        let known = if is_name(segment) { self.0[at].named } else { self.0[at].literal.get(segment).copied() };
        if let Some(child) = known {
            return child as usize;
        }
        if is_name(segment) {
            self.0[at].named = Some(next);
        } else {
            self.0[at].literal.insert(segment.into(), next);
        }
        self.0.push(Node::default());
        next as usize
    }

    /// What the templates lead to that `path` matches, in order of precedence. A `{name}` stands for any segment but
    /// an empty one.
    pub(super) fn along<'a>(&'a self, path: &'a str) -> Along<'a, V> {
        let rest = path.strip_prefix('/').filter(|_| !self.0.is_empty());
        Along { nodes: &self.0, open: rest.map(|rest| (0, Some(rest))).into_iter().collect() }
    }
}

/// A walk over the trie, depth first; the way back to each `{name}` not tried yet is kept. Each node is seen at most
/// once.
pub(super) struct Along<'a, V> {
    nodes: &'a [Node<V>],
    // A node, and what of the path comes after it; `None` where the path is through.
    open: SmallVec<[(u32, Option<&'a str>); 4]>,
}

impl<'a, V> Iterator for Along<'a, V> {
    type Item = &'a V;

    fn next(&mut self) -> Option<&'a V> {
        while let Some((at, rest)) = self.open.pop() {
            let node = &self.nodes[at as usize];
            let Some(rest) = rest else {
                match &node.value {
                    Some(value) => return Some(value),
                    None => continue,
                }
            };
            let (segment, rest) = match memchr::memchr(b'/', rest.as_bytes()) {
                Some(end) => (&rest[..end], Some(&rest[end + 1..])),
                None => (rest, None),
            };
            let named = node.named.filter(|_| !segment.is_empty());
            self.open.extend(named.map(|child| (child, rest)));
            self.open.extend(node.literal.get(segment).map(|&child| (child, rest)));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_come_before_names_at_the_leftmost_difference() {
        let mut templates = Templates::default();
        for template in ["/{a}/b/c", "/x/{b}/{c}", "/x/{b}/c", "/{a}", "/{a}/", "/{a}/{b}/{c}"] {
            templates.insert(template, template);
        }
        let cases: [(&str, &[&str]); 8] = [
            ("/x/b/c", &["/x/{b}/c", "/x/{b}/{c}", "/{a}/b/c", "/{a}/{b}/{c}"]),
            ("/y/b/c", &["/{a}/b/c", "/{a}/{b}/{c}"]),
            ("/x//c", &[]),
            ("/x", &["/{a}"]),
            ("/x/", &["/{a}/"]),
            ("/", &[]),
            ("", &[]),
            ("*", &[]),
        ];
        for (path, expected) in cases {
            assert_eq!(templates.along(path).copied().collect::<Vec<_>>(), expected, "{path}");
        }
    }

    #[test]
    fn names_do_not_count() {
        assert_eq!(normal("/{user}/posts/{post}"), "/{}/posts/{}");
        assert_eq!(normal("/{user}s/{"), "/{user}s/{");
    }
}
