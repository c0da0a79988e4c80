//! Services that are files.

use super::{Config, Environment, Given, accepts, check, problems};

#[test]
fn files() {
    check(
        "services.web.files",
        &[
            ("root = \"\"", "is empty"),
            ("root = 7", "expected a text, found integer (7)"),
            ("index = [\"../a\"]", "`../a` is no path below root"),
            (
                "fallback = \"/index.html\"",
                "`/index.html` is no path below root",
            ),
            (
                "cache_control = \"a\\u0000\"",
                "`a\u{0}` is no header value",
            ),
            ("charset = \"utf 8\"", "`utf 8` is no charset such as utf-8"),
            ("dot_files = 1", "expected true or false, found integer (1)"),
            (
                "precompressed = \"no\"",
                "expected true or false, found string",
            ),
            ("sendfile = \"on\"", "expected true or false, found string"),
            ("autoindex = true", "unknown key"),
        ],
    );
    let nine = format!("index = {:?}", ["a"; 9]);
    check("services.web.files", &[(&nine, "9 names are more than 8")]);
    let bare = problems("[services.web.files]\n");
    assert_eq!(bare, ["services.web.files.root: is required"]);
    accepts(
        "services.web.files",
        &[
            "root = \"/srv\"\nindex = []\nfallback = \"app/index.html\"\ncharset = \"\"",
            "root = \"public\"\nindex = \"home.html\"\ndot_files = true\nsendfile = false",
        ],
    );
}

#[test]
fn a_service_is_files_or_backends() {
    let beside = problems(
        "[services.web]\nbackends = [\"127.0.0.1:1\"]\n[services.web.files]\nroot = \"/srv\"\n\
         [services.tv.engines]\ncommand = [\"a\"]\n[services.tv.files]\nroot = \"/srv\"\n",
    );
    assert_eq!(
        beside,
        [
            "services.tv.engines: cannot stand beside `files`",
            "services.web.backends: cannot stand beside `files`"
        ]
    );
}

#[test]
fn a_root_is_looked_for_when_a_file_is_offered() {
    let text = "[services.web.files]\nroot = \"/nowhere/at/all\"\n";
    let config = Config::parse(text, &Environment::default(), &Given::default()).unwrap();
    let said = config.with_folders().unwrap_err().to_string();
    let expected = "services.web.files.root: `/nowhere/at/all` is no directory that can be read: ";
    assert!(said.starts_with(expected), "{said}");
}
