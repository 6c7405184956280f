//! Paths into JSON: JSON Pointer (RFC 6901) with `*` for every member or element, and `**` for any number of levels. `~2`
//! stands for a `*` that is meant, as `~1` does for `/` and `~0` for `~`.

use crate::node::{Member, Node};

/// One level of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    /// A member's name, or an element's number.
    Name(String),
    /// Every member or element.
    Any,
    /// This level and all below.
    Deep,
}

/// A path to something within a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Path {
    pub(crate) parents: Vec<Level>,
    /// Never [`Level::Deep`].
    pub(crate) last: Level,
}

/// Levels of a path.
const LEVELS_MAX: usize = 64;

impl Path {
    /// Reads a path.
    ///
    /// # Errors
    /// What is wrong with it, for the operator.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        let inside = text.strip_prefix('/').ok_or("must begin with `/`, as in /users/*/name")?;
        let mut parents = inside.split('/').map(level).collect::<Result<Vec<_>, _>>()?;
        if parents.len() > LEVELS_MAX {
            return Err("has more than 64 levels");
        }
        if parents.iter().filter(|level| **level == Level::Deep).count() > 1 {
            return Err("has `**` more than once");
        }
        let last = parents.pop().ok_or("must not be empty")?;
        match last {
            Level::Deep => Err("ends in `**`: a name must follow"),
            last => Ok(Self { parents, last }),
        }
    }

    /// Runs `f` on everything that may hold what the path leads to: the path's parents that are there.
    pub(crate) fn visit<'a>(&self, root: &mut Node<'a>, f: &mut impl FnMut(&mut Node<'a>, &Level)) {
        visit(root, &self.parents, &mut |parent| f(parent, &self.last));
    }
}

fn level(text: &str) -> Result<Level, &'static str> {
    match text {
        "*" => return Ok(Level::Any),
        "**" => return Ok(Level::Deep),
        _ => {}
    }
    if text.contains('*') {
        return Err("has a `*` within a name: `*` stands alone, and a name with one has `~2` for it");
    }
    let mut name = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(character) = rest.next() {
        name.push(match character {
            '~' => match rest.next() {
                Some('0') => '~',
                Some('1') => '/',
                Some('2') => '*',
                _ => return Err("has a `~` that is not `~0` (for `~`), `~1` (for `/`) or `~2` (for `*`)"),
            },
            other => other,
        });
    }
    Ok(Level::Name(name))
}

fn visit<'a>(node: &mut Node<'a>, parents: &[Level], f: &mut impl FnMut(&mut Node<'a>)) {
    let Some((level, rest)) = parents.split_first() else { return f(node) };
    match (level, node) {
        (Level::Deep, node) => {
            visit(node, rest, f);
            children(node).for_each(|child| visit(child, parents, f));
        }
        (Level::Any, node) => children(node).for_each(|child| visit(child, rest, f)),
        (Level::Name(name), Node::Object(members)) => {
            members.iter_mut().filter(|member| member.is(name)).for_each(|member| visit(&mut member.value, rest, f));
        }
        (Level::Name(name), Node::Array(elements)) => {
            if let Some(element) = index(name).and_then(|index| elements.get_mut(index)) {
                visit(element, rest, f);
            }
        }
        (Level::Name(_), Node::Scalar(_)) => {}
    }
}

fn children<'n, 'a>(node: &'n mut Node<'a>) -> Box<dyn Iterator<Item = &'n mut Node<'a>> + 'n> {
    match node {
        Node::Object(members) => Box::new(members.iter_mut().map(|Member { value, .. }| value)),
        Node::Array(elements) => Box::new(elements.iter_mut()),
        Node::Scalar(_) => Box::new(std::iter::empty()),
    }
}

/// The number of an element: digits, without zeros before it (RFC 6901 section 4).
pub(crate) fn index(name: &str) -> Option<usize> {
    let plain = name == "0" || !name.starts_with('0');
    let digits = name.bytes().all(|byte| byte.is_ascii_digit());
    (plain && digits).then(|| name.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read() {
        let path = Path::parse("/a~1b/*/**/~0~2").unwrap();
        assert_eq!(path.parents, [Level::Name("a/b".into()), Level::Any, Level::Deep]);
        assert_eq!(path.last, Level::Name("~*".into()));
        assert_eq!(Path::parse("/").unwrap().last, Level::Name(String::new()));
        for wrong in ["", "a", "/a/**", "/**/a/**/b", "/a*", "/~3", "/~", &"/a".repeat(65)] {
            assert!(Path::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn elements_have_numbers_without_zeros_before_them() {
        let numbers = ["0", "10", "01", "-", "", "1a", "99999999999999999999"].map(index);
        assert_eq!(numbers, [Some(0), Some(10), None, None, None, None, None]);
    }
}
