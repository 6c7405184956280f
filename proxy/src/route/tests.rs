//! The table against its plain reference, and what versions share.

use proptest::{collection::vec, option, prelude::*, sample::select};

use super::*;
use crate::config::spec::{FieldMatch, PathPattern, ValuePattern};

const HOSTS: &[&str] = &["a", "b.a", "c.b.a", "c.a", "xb.a", ".a", "a.a.a", ""];
const PATHS: &[&str] = &["/", "/a", "/a/", "/a/b", "/a/b/", "/a//b", "/ab", "/b/a", "/a/b/c", "//", "*", "/b/b/b"];

fn row() -> impl Strategy<Value = Row<usize>> {
    let host = prop_oneof![
        select(&["a", "b.a", "c.b.a", "c.a"][..]).prop_map(|host| HostPattern::Exact(host.into())),
        select(&["a", "b.a", "a.a", ""][..]).prop_map(|host| HostPattern::Wildcard(host.into())),
    ];
    let path = prop_oneof![
        select(PATHS).prop_map(|path| PathPattern::Exact(path.into())),
        select(&["/", "/a", "/a/", "/a/b", "/ab", "/a//", "/a//b"][..])
            .prop_map(|path| PathPattern::Prefix(path.into())),
        vec(select(&["a", "b", "{x}", "{y}", ""][..]), 1..4)
            .prop_map(|segments| PathPattern::Template(format!("/{}", segments.join("/")))),
        select(&["/a.*", "/.*", "/[ab]", ".*b", "/a/b"][..]).prop_map(|path| PathPattern::Regex(path.into())),
    ];
    let field = |names: &'static [&'static str]| {
        let value = prop_oneof![
            select(&["1", "2", "1,2"][..]).prop_map(|text| ValuePattern::Exact(text.into())),
            select(&["[12]", "1.*"][..]).prop_map(|text| ValuePattern::Regex(text.into())),
        ];
        (select(names), value).prop_map(|(name, value)| FieldMatch { name: name.into(), value })
    };
    let on = (
        path,
        option::of(select(&[Method::GET, Method::PUT][..])),
        vec(field(&["x", "y"]), 0..3),
        vec(field(&["q", "r"]), 0..3),
    );
    (vec(host, 0..3), on, 0..1_000_000_usize).prop_map(|(hosts, (path, method, headers, query), value)| Row {
        hosts: hosts.into(),
        on: Arc::new(Match { path, method, headers, query }),
        identity: Identity::of_bytes(&value.to_le_bytes()),
        value,
    })
}

#[derive(Clone, Debug)]
struct Asked(&'static str, &'static str, &'static str, Method, HeaderMap);

impl Asked {
    fn head(&self) -> Head<'_> {
        Head { host: self.0, path: self.1, query: self.2, method: &self.3, headers: &self.4 }
    }
}

fn asked() -> impl Strategy<Value = Asked> {
    let line = (select(&["x", "y"][..]), select(&["1", "2", "1,2", "3"][..]));
    let headers = vec(line, 0..4).prop_map(|lines| {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(name, value.parse().unwrap());
        }
        headers
    });
    let query = select(&["", "q=1", "r=2", "q=1&r=1", "q=2&q=1", "r=1,2&q=12", "q", "&&q=1"][..]);
    let method = select(&[Method::GET, Method::PUT, Method::POST][..]);
    (select(HOSTS), select(PATHS), query, method, headers).prop_map(|(a, b, c, d, e)| Asked(a, b, c, d, e))
}

proptest! {
    #[test]
    fn the_table_finds_what_the_reference_finds(rows in vec(row(), 0..24), asked in vec(asked(), 64)) {
        let table = Table::build(&rows, None).unwrap();
        for asked in asked {
            prop_assert_eq!(table.find(&asked.head()), reference::find(&rows, &asked.head()), "{:?}", asked);
        }
    }

    #[test]
    fn a_version_built_on_another_is_like_one_built_alone(
        before in vec(row(), 0..16), after in vec(row(), 0..4), cut in 0..16_usize, asked in vec(asked(), 64),
    ) {
        let first = Table::build(&before, None).unwrap();
        let rows: Vec<_> = before.iter().skip(cut).chain(&after).cloned().collect();
        let second = Table::build(&rows, Some(&first)).unwrap();
        for asked in asked {
            prop_assert_eq!(second.find(&asked.head()), reference::find(&rows, &asked.head()));
            prop_assert_eq!(first.find(&asked.head()), reference::find(&before, &asked.head()));
        }
        prop_assert_eq!(Table::build(&rows, Some(&second)).unwrap().built(), 0);
    }

    // Each route has up to three rows; an edit changes their values alone, or the rows themselves.
    #[test]
    fn an_edited_version_is_like_one_built_alone(
        mut routes in vec(vec(row(), 0..3), 1..12),
        edits in vec((any::<prop::sample::Index>(), option::of(vec(row(), 0..3))), 1..8),
        asked in vec(asked(), 64),
    ) {
        let all = |routes: &[Vec<Row<usize>>]| routes.concat();
        let mut table = Table::build(&all(&routes), None).unwrap();
        for (turn, (at, now)) in edits.into_iter().enumerate() {
            let at = at.index(routes.len());
            let same = || routes[at].iter().map(|row| Row { value: turn, identity: Identity::of(&(turn, row.value)), ..row.clone() }).collect();
            let now = now.unwrap_or_else(same);
            let edited = table.with([(&routes[at][..], &now[..])].into_iter()).unwrap();
            routes[at] = now;
            let first = table.clone();
            table = match edited {
                Some(table) => table,
                None => Table::build(&all(&routes), Some(&first)).unwrap(),
            };
            let rows = all(&routes);
            for asked in &asked {
                prop_assert_eq!(table.find(&asked.head()), reference::find(&rows, &asked.head()), "{:?}", asked);
            }
            prop_assert_eq!(Table::build(&rows, Some(&table)).unwrap().built(), 0, "what is shared is known again");
        }
    }
}

#[test]
fn a_changed_value_among_ten_thousand_rows_of_one_host_copies_little() {
    let rows: Vec<_> = (0..10_000).map(|n| plain("a.test", &format!("/{n}"), n)).collect();
    let first = Table::build(&rows, None).unwrap();
    let now = Row { value: 0, identity: Identity::of(&"other"), ..rows[77].clone() };
    let second = first.with([(&rows[77..78], std::slice::from_ref(&now))].into_iter()).unwrap().expect("it is known");
    assert_eq!((second.built(), second.hosts()), (1, 1));
    let headers = HeaderMap::new();
    for (table, value) in [(&first, 77), (&second, 0)] {
        let head = Head { host: "a.test", path: "/77/x", query: "", method: &Method::GET, headers: &headers };
        assert_eq!(table.find(&head), Some(&value));
        assert_eq!(table.find(&Head { path: "/78", ..head }), Some(&78));
    }
}

fn plain(host: &str, path: &str, value: usize) -> Row<usize> {
    let on = Match { path: PathPattern::Prefix(path.into()), method: None, headers: vec![], query: vec![] };
    Row {
        hosts: [HostPattern::Exact(host.into())].into(),
        on: Arc::new(on),
        identity: Identity::of(&(host, path, value)),
        value,
    }
}

#[test]
fn one_changed_row_among_ten_thousand_builds_one_host() {
    let mut rows: Vec<_> = (0..10_000).map(|n| plain(&format!("h{}.test", n / 4), &format!("/{}", n % 4), n)).collect();
    let first = Table::build(&rows, None).unwrap();
    assert_eq!((first.built(), first.hosts()), (2500, 2500));
    rows[4321] = plain("h1080.test", "/new", 4321);
    let second = Table::build(&rows, Some(&first)).unwrap();
    assert_eq!((second.built(), second.hosts()), (1, 2500));
    let own: std::collections::HashSet<_> = first.0.exact.values().map(Arc::as_ptr).collect();
    let moved = second.0.exact.values().filter(|table| !own.contains(&Arc::as_ptr(table))).count();
    assert_eq!(moved, 1);
}

#[test]
fn a_regular_expression_is_compiled_once_for_all_versions() {
    let regex = |host: &str| {
        let path = PathPattern::Regex("/[0-9]+".into());
        Row { on: Arc::new(Match { path, method: None, headers: vec![], query: vec![] }), ..plain(host, "/", 1) }
    };
    let first = Table::build(&[regex("a")], None).unwrap();
    let second = Table::build(&[regex("b"), regex("c")], Some(&first)).unwrap();
    assert_eq!(second.built(), 2);
    assert!(second.0.patterns.shares_all_of(&first.0.patterns));
}

#[test]
fn a_trailing_dot_of_the_host_does_not_count() {
    let table = Table::build(&[plain("a.test", "/", 7)], None).unwrap();
    let headers = HeaderMap::new();
    let head = Head { host: "a.test.", path: "/", query: "", method: &Method::GET, headers: &headers };
    assert_eq!(table.find(&head), Some(&7));
    assert_eq!(table.find(&Head { host: "a.test..", ..head }), None);
}

#[test]
fn a_hostile_path_or_host_is_looked_up_like_another() {
    let table = Table::build(&[plain("a.test", "/a/b", 1)], None).unwrap();
    let (host, path, headers) = ("a.".repeat(20_000), "/a".repeat(8_000), HeaderMap::new());
    let head = Head { host: &host, path: &path, query: "", method: &Method::GET, headers: &headers };
    assert_eq!(table.find(&head), None);
}
