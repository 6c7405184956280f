//! Path templates (`/users/{id}/posts`) in a trie of segments. A literal segment is tried before a `{name}`, so what
//! matches comes in order of precedence. Knows nothing of what a template leads to.

use std::sync::Arc;

use smallvec::SmallVec;

use super::index::Index;

/// Values by path template. Versions share the branches that are the same.
#[derive(Clone, Debug)]
pub(super) struct Templates<V>(Option<Arc<Node<V>>>);

#[derive(Clone, Debug)]
struct Node<V> {
    literal: Index<Arc<Self>>,
    named: Option<Arc<Self>>,
    value: Option<V>,
}

impl<V> Default for Node<V> {
    fn default() -> Self {
        Self { literal: Index::default(), named: None, value: None }
    }
}

impl<V> Default for Templates<V> {
    fn default() -> Self {
        Self(None)
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

fn segments(template: &str) -> impl Iterator<Item = &str> {
    template.strip_prefix('/').unwrap_or(template).split('/')
}

impl<V: Clone> Templates<V> {
    /// Puts in what a template leads to; `None` takes it out.
    pub(super) fn set(&mut self, template: &str, value: Option<V>) {
        let mut node = Arc::make_mut(self.0.get_or_insert_default());
        for segment in segments(template) {
            node = node.child(segment);
        }
        node.value = value;
    }
}

impl<V> Templates<V> {
    /// What a template itself leads to.
    pub(super) fn get(&self, template: &str) -> Option<&V> {
        let mut node = self.0.as_ref()?;
        for segment in segments(template) {
            node = if is_name(segment) { node.named.as_ref()? } else { node.literal.get(segment)? };
        }
        node.value.as_ref()
    }

    /// What the templates lead to that `path` matches, in order of precedence. A `{name}` stands for any segment but
    /// an empty one.
    pub(super) fn along<'t, 'p>(&'t self, path: &'p str) -> Along<'t, 'p, V> {
        let rest = path.strip_prefix('/');
        Along { open: self.0.as_deref().zip(rest).map(|(root, rest)| (root, Some(rest))).into_iter().collect() }
    }
}

impl<V: Clone> Node<V> {
    // The child of this segment as this version's own.
    fn child(&mut self, segment: &str) -> &mut Self {
        if is_name(segment) {
            return Arc::make_mut(self.named.get_or_insert_default());
        }
        Arc::make_mut(self.literal.own(segment))
    }
}

/// A walk over the trie, depth first; the way back to each `{name}` not tried yet is kept. Each node is seen at most
/// once.
pub(super) struct Along<'t, 'p, V> {
    // A node, and what of the path comes after it; `None` where the path is through.
    open: SmallVec<[(&'t Node<V>, Option<&'p str>); 4]>,
}

impl<'t, V> Iterator for Along<'t, '_, V> {
    type Item = &'t V;

    fn next(&mut self) -> Option<&'t V> {
        while let Some((node, rest)) = self.open.pop() {
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
            let named = node.named.as_deref().filter(|_| !segment.is_empty());
            self.open.extend(named.map(|child| (child, rest)));
            self.open.extend(node.literal.get(segment).map(|child| (&**child, rest)));
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
            templates.set(template, Some(template));
        }
        let before = templates.clone();
        templates.set("/{a}/gone", Some("/{a}/gone"));
        assert_eq!((before.get("/{b}/gone"), templates.get("/{b}/gone")), (None, Some(&"/{a}/gone")));
        templates.set("/{}/gone", None);
        let cases: [(&str, &[&str]); 9] = [
            ("/x/gone", &[]),
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
