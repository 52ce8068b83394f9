//! The page on a WebSocket listener's `/`: the playground, as far as it was built into this program.

use columba_net::Page;

/// Path, media type and content.
static FILES: &[(&str, &str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/playground.rs"));

const NONE: &str = "This is an MQTT broker; MQTT over WebSocket is at /mqtt.\n\
    This build has no playground: `cargo xtask web` before building the command puts it here.\n";

/// The answer to a GET of this path.
pub(crate) fn page(path: &str) -> Option<Page> {
    let name = path.trim_start_matches('/');
    let name = if name.is_empty() { "index.html" } else { name };
    if let Ok(index) = FILES.binary_search_by(|(known, ..)| (*known).cmp(name)) {
        let (_, content_type, body) = FILES[index];
        return Some(Page::new(content_type, body));
    }
    (FILES.is_empty() && name == "index.html").then(|| Page::new("text/plain; charset=utf-8", NONE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_page_whatever_was_built() {
        assert!(page("/").is_some());
        assert_eq!(page("/../Cargo.toml"), None);
        assert_eq!(page("//"), page("/"));
        assert!(FILES.is_sorted_by_key(|(path, ..)| path));
    }
}
