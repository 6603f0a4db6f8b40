//! The next page of a list: `Link` (RFC 8288; distribution-spec, "Listing Tags").
//!
//! Pure.

/// Returns the target of the link whose relation is `next`; `None` where there is none, or malformed text.
pub(super) fn next<'h>(headers: &[&'h str]) -> Option<&'h str> {
    headers.iter().find_map(|text| next_of(text))
}

fn next_of(text: &str) -> Option<&str> {
    let mut rest = text;
    loop {
        let start = rest.find('<')?;
        let (target, after) = rest[start + 1..].split_once('>')?;
        let end = after.find(",").unwrap_or(after.len());
        let parameters = &after[..end];
        if parameters.split(';').any(is_next) {
            return Some(target);
        }
        rest = &after[end..];
    }
}

fn is_next(parameter: &str) -> bool {
    let Some((name, value)) = parameter.split_once('=') else {
        return false;
    };
    let value = value.trim().trim_matches('"');
    let mut relations = value.split(' ');
    name.trim().eq_ignore_ascii_case("rel") && relations.any(|r| r.eq_ignore_ascii_case("next"))
}

#[cfg(test)]
mod tests {
    use super::next;

    #[test]
    fn the_next_page_is_found_among_links() {
        for text in [
            r#"</v2/x/tags/list?last=b&n=2>; rel="next""#,
            r#"<b>; rel=prev, </v2/x/tags/list?last=b&n=2>;title=x; REL = "last next""#,
        ] {
            assert_eq!(next(&["", text]), Some("/v2/x/tags/list?last=b&n=2"));
        }
        for odd in [
            "",
            "<",
            "<a",
            "<a>",
            "<a>;rel",
            "a; rel=next",
            "<a>; rel=nextish",
            "<a>; x=next",
        ] {
            assert_eq!(next(&[odd]), None, "{odd}");
        }
    }
}
