//! Walls between the rooms: who may name what. Read from the sources, so that a new line cannot
//! slip by.

use std::fs;
use std::path::{Path, PathBuf};

use tests::assets::repository;

/// Every Rust file under a directory of the repository.
fn sources(under: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut open = vec![repository().join(under)];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push((path.clone(), fs::read_to_string(&path).unwrap()));
            }
        }
    }
    assert!(!found.is_empty(), "{under} has no sources");
    found
}

/// The code of a file without comments, which may name anything, and without its tests, which may
/// open files and look at clocks.
fn code(source: &str) -> String {
    let lines = shipped(source).lines();
    let lines = lines.filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// The source before its tests, which may have attributes and a visibility between `cfg` and `mod`.
fn shipped(source: &str) -> &str {
    let Some(tests) = source.rfind("mod tests {") else {
        return source;
    };
    let before = &source[..tests];
    let belongs = |line: &str| line.starts_with("#[") || line.starts_with("pub");
    match before.rfind("#[cfg(test)]") {
        Some(at) if before[at..].lines().all(belongs) => &source[..at],
        _ => source,
    }
}

/// Whether a file holds nothing but tests.
fn is_tests(path: &Path) -> bool {
    let stem = path.file_stem().and_then(|stem| stem.to_str());
    stem.is_some_and(|stem| stem == "tests" || stem.ends_with("_tests"))
}

/// Whether code holds a word that is not the end of a longer one.
fn names(code: &str, word: &str) -> bool {
    let continues = |before: char| before.is_alphanumeric() || before == '_';
    code.match_indices(word)
        .any(|(at, _)| !code[..at].ends_with(continues))
}

fn assert_named_only_in(rooms: &[&str], word: &str, allowed: &[&str]) {
    for (path, source) in rooms.iter().flat_map(|room| sources(room)) {
        let relative = path.strip_prefix(repository()).unwrap();
        let is_allowed = allowed
            .iter()
            .any(|allowed| relative.starts_with(Path::new(allowed)));
        assert!(
            is_allowed || is_tests(&path) || !names(&code(&source), word),
            "{} names {word}",
            relative.display()
        );
    }
}

/// A room's manifest.
fn manifest(room: &str) -> String {
    fs::read_to_string(repository().join(room).join("Cargo.toml")).unwrap()
}

#[test]
fn the_server_cannot_name_text_or_privacy() {
    let manifest = manifest("server");
    let shared: Vec<_> = manifest
        .lines()
        .filter(|line| line.starts_with("shared"))
        .collect();
    assert_eq!(shared, ["shared.workspace = true"]);
    assert!(
        !manifest.contains("client"),
        "the server's manifest names the client's feature"
    );
    assert!(!manifest.contains("tokenizers"));
    for word in [
        "shared::text",
        "shared::privacy",
        "tokenizers::",
        "text::",
        "privacy::",
    ] {
        assert_named_only_in(&["server/src"], word, &[]);
    }
}

#[test]
fn one_file_knows_the_serialization() {
    let rooms = [
        "shared/src",
        "server/src",
        "client-wasm/src",
        "client-cli/src",
    ];
    assert_named_only_in(&rooms, "bincode", &["shared/src/protocol/codec.rs"]);
}

#[test]
fn javascript_is_met_at_the_boundary_only() {
    let boundary = [
        "client-wasm/src/bindings.rs",
        "client-wasm/src/bindings",
        "client-wasm/src/transport/browser.rs",
        "client-wasm/src/browser.rs",
        "client-wasm/src/cache/page.rs",
    ];
    let rooms = [
        "shared/src",
        "server/src",
        "client-wasm/src",
        "client-cli/src",
    ];
    for word in ["wasm_bindgen", "web_sys", "js_sys"] {
        assert_named_only_in(&rooms, word, &boundary);
    }
}

#[test]
fn one_file_handles_websocket_frames_at_the_server() {
    let boundary = [
        "server/src/connection.rs",
        "server/src/connection",
        "server/src/routes.rs",
    ];
    assert_named_only_in(&["server/src"], "extract::ws", &boundary);
}

#[test]
fn shared_has_no_socket_file_clock_or_thread() {
    for word in [
        "std::net",
        "std::fs",
        "std::thread",
        "std::time",
        "tokio",
        "thread_rng",
        "rand::rng()",
    ] {
        assert_named_only_in(&["shared/src"], word, &[]);
    }
}

/// Breaks when data of clients is written or read beside the stores, which sync what they
/// acknowledge and seal what they write.
#[test]
fn files_are_met_in_the_stores_only() {
    let allowed = [
        // The two seams, and what copies a whole data directory.
        "server/src/store",
        "server/src/store.rs",
        "server/src/state",
        "server/src/backup.rs",
        // What the operator provides: the model, the bottoms that are cut out of it, and a page.
        "server/src/catalogue.rs",
        "server/src/catalogue",
        "server/src/trainer/worker.rs",
        "server/src/verify.rs",
        // Settings, and whether what they name is there.
        "server/src/config.rs",
        "server/src/check.rs",
    ];
    for word in ["std::fs", "tokio::fs"] {
        assert_named_only_in(&["server/src"], word, &allowed);
    }
}

#[test]
fn what_is_shipped_ends_where_the_tests_begin() {
    let with = |attributes: &str| format!("fn shipped() {{}}\n{attributes}mod tests {{\n}}\n");
    for between in ["", "#[allow(clippy::unwrap_used)]\n", "pub(super) "] {
        let tests = with(&format!("#[cfg(test)]\n{between}"));
        assert_eq!(shipped(&tests), "fn shipped() {}\n");
    }
    let helper = with("#[cfg(test)]\nfn helper() {}\n");
    assert_eq!(shipped(&helper), helper);
}

#[test]
fn panics_are_not_asked_for() {
    // clippy denies `unwrap` in code; this holds the words that it does not know.
    for word in ["todo!(", "unimplemented!(", "dbg!("] {
        let rooms = [
            "shared/src",
            "server/src",
            "client-wasm/src",
            "client-cli/src",
        ];
        assert_named_only_in(&rooms, word, &[]);
    }
}
