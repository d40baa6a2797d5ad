//! The house rule of links: every page of `docs/` is reached from `docs/README.md`, and no link leads nowhere.
//!
//! A page that nothing links to is read by nobody and is never corrected.

use std::collections::{BTreeMap, BTreeSet};

/// A line for each page that is not reached, and for each link between pages that leads nowhere.
pub(crate) fn wrong(pages: &BTreeMap<&str, &str>) -> Vec<String> {
    const START: &str = "docs/README.md";
    let mut wrong = Vec::new();
    let mut reached = BTreeSet::from([START.to_owned()]);
    let mut to_read = vec![START.to_owned()];
    while let Some(page) = to_read.pop() {
        for target in targets(&page, pages.get(page.as_str()).copied().unwrap_or_default()) {
            if !pages.contains_key(target.as_str()) {
                wrong.push(format!("{page}: its link to {target} leads nowhere"));
            } else if reached.insert(target.clone()) {
                to_read.push(target);
            }
        }
    }
    let lost = pages
        .keys()
        .filter(|page| page.starts_with("docs/") && !reached.contains(**page));
    wrong.extend(lost.map(|page| format!("{page}: no page that {START} leads to links to it")));
    wrong
}

/// The pages that `page` links to, as paths from the root; a folder is its README.
fn targets(page: &str, text: &str) -> Vec<String> {
    let folder = page.rsplit_once('/').map_or("", |(folder, _)| folder);
    text.split("](")
        .skip(1)
        .filter_map(|rest| rest.split_once(')').map(|(link, _)| link))
        .map(|link| link.split_once('#').map_or(link, |(path, _)| path))
        .filter(|link| !link.is_empty() && !link.contains("://") && !link.contains(' '))
        .filter_map(|link| {
            let path = joined(folder, link);
            match path
                .rsplit_once('/')
                .map_or(path.as_str(), |(_, name)| name)
            {
                name if name.ends_with(".md") => Some(path),
                // Sources and queries are another rule's.
                name if name.contains('.') || !path.starts_with("docs") => None,
                _ => Some(format!("{path}/README.md")),
            }
        })
        .collect()
}

/// `link`, seen from `folder`.
fn joined(folder: &str, link: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in link.split('/').filter(|part| !part.is_empty()) {
        match part {
            "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_that_nothing_links_to_is_told() {
        let mut pages = BTreeMap::from([
            (
                "docs/README.md",
                "[a](a.md), [more](more/) and [code](../src)",
            ),
            ("docs/a.md", "[up](../README.md#part) https://example.org"),
            ("docs/more/README.md", "[b](b.md)"),
            ("docs/more/b.md", ""),
            ("README.md", ""),
        ]);
        assert_eq!(wrong(&pages), Vec::<String>::new());
        pages.insert("docs/c.md", "[a](a.md)");
        assert_eq!(wrong(&pages).len(), 1, "{:?}", wrong(&pages));
        pages.insert("docs/more/README.md", "[b](gone.md)");
        let told = wrong(&pages).join("\n");
        for expected in ["docs/more/gone.md", "docs/c.md: no", "docs/more/b.md: no"] {
            assert!(told.contains(expected), "{told}");
        }
    }
}
