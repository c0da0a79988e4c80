use std::fs;
use std::path::Path;

use tracing_subscriber::layer::Layered;
use tracing_subscriber::registry::Registry;
use weir_core::logs::{LINE_BYTES_MAX, LINES_MAX, Query, Rotation, Writer};
use weir_proto::node::v1::LogLine;

use super::*;

const NODE: &str = "node-1";

fn clock() -> WallClock {
    WallClock::starting_at(Duration::from_secs(1_800_000_000))
}

fn files(folder: &Path, bytes_max: u64, files_max: u32) -> LogFiles {
    LogFiles {
        folder: folder.to_owned(),
        name: "node-1.log".to_owned(),
        rotation: Rotation {
            bytes_max,
            files_max,
        },
    }
}

fn query(level: &str, grep: &str, lines: usize) -> Query {
    Query::new(None, level, grep, lines, LINES_MAX).unwrap()
}

/// Logs whose task runs, and what writes to them.
fn started(files: Option<LogFiles>) -> (Logs, Layered<Capture, Registry>) {
    let (logs, capture) = Logs::new(clock());
    tokio::spawn(logs.begin(files));
    (logs, tracing_subscriber::registry().with(capture))
}

async fn find(logs: &Logs, query: &Query) -> Found {
    logs.flush(Duration::from_secs(10)).await;
    logs.find(NODE, query).await
}

fn messages(lines: &[LogLine]) -> Vec<&str> {
    lines.iter().map(|line| &*line.message).collect()
}

/// A line as this node writes it.
fn line(at: u64, message: &str) -> String {
    let mut writer = Writer::new(
        1_800_000_000_000 + at,
        weir_core::logs::Level::Info,
        "weir_node",
    );
    writer.text("message", message);
    writer.finish() + "\n"
}

#[tokio::test(start_paused = true)]
async fn a_line_says_what_the_event_said() {
    let (logs, subscriber) = started(None);
    tracing::subscriber::with_default(subscriber, || {
        let error = std::io::Error::other("no \"room\"\n");
        tracing::warn!(%error, count = 3, is_on = true, trace_id = Some("4bf9"), "it failed");
        tracing::info!(none = None::<&str>, "fine");
    });
    let found = find(&logs, &query("", "", 0)).await;
    assert_eq!(messages(&found.lines), ["it failed", "fine"]);
    let first = &found.lines[0];
    assert_eq!(
        (&*first.node, &*first.level, first.at_unix_ms),
        (NODE, "warn", 1_800_000_000_000)
    );
    assert!(
        first.target.ends_with("telemetry::logs::tests"),
        "{}",
        first.target
    );
    let attributes: Vec<(&str, &str)> = first
        .attributes
        .iter()
        .map(|(name, value)| (&**name, &**value))
        .collect();
    let expected = [
        ("count", "3"),
        ("error", "no \"room\"\n"),
        ("is_on", "true"),
        ("trace_id", "4bf9"),
    ];
    assert_eq!(attributes, expected);
    assert!(found.lines[1].attributes.is_empty());
    assert_eq!(
        messages(&find(&logs, &query("warn", "", 0)).await.lines),
        ["it failed"]
    );
    assert_eq!(
        messages(&find(&logs, &query("", "\"room\"", 0)).await.lines),
        ["it failed"]
    );
    assert_eq!(
        messages(&find(&logs, &query("", "", 1)).await.lines),
        ["fine"]
    );
}

#[tokio::test]
async fn what_finds_no_room_is_counted_and_nobody_waits() {
    let (logs, capture) = Logs::new(clock());
    let subscriber = tracing_subscriber::registry().with(capture);
    tracing::subscriber::with_default(subscriber, || {
        for number in 0..WAITING_MAX + 100 {
            tracing::info!(number, "line");
        }
    });
    assert_eq!(
        (logs.counts().queued(), logs.counts().no_room()),
        (WAITING_MAX as u64, 100)
    );
    tokio::spawn(logs.begin(None));
    let found = find(&logs, &query("", "", 0)).await;
    assert_eq!((found.lines.len(), found.is_cut), (1_000, true));
    assert_eq!(
        found.lines[999].attributes["number"],
        (WAITING_MAX - 1).to_string()
    );
}

#[tokio::test]
async fn lines_that_wait_are_bounded_in_bytes() {
    let (logs, capture) = Logs::new(clock());
    let subscriber = tracing_subscriber::registry().with(capture);
    let long = "x".repeat(4_000);
    tracing::subscriber::with_default(subscriber, || {
        for _ in 0..4_000 {
            tracing::info!(a = %long, b = %long, "line");
        }
    });
    assert!(
        (900..1_100).contains(&logs.counts().queued()),
        "{:?}",
        logs.counts()
    );
    assert_eq!(logs.counts().queued() + logs.counts().no_room(), 4_000);
    tokio::spawn(logs.begin(None));
    logs.flush(Duration::from_secs(10)).await;
    assert_eq!(logs.counts().waiting_bytes(), 0);
}

#[tokio::test]
async fn files_are_bounded_in_bytes_and_number_and_read_as_one() {
    let folder = tempfile::tempdir().unwrap();
    let (logs, subscriber) = started(Some(files(&folder.path().join("made"), 4_000, 3)));
    tracing::subscriber::with_default(subscriber, || {
        for number in 0..200 {
            tracing::info!("line {number}");
        }
    });
    let found = find(&logs, &query("", "", 0)).await;
    let numbers: Vec<String> = (0..200).map(|number| format!("line {number}")).collect();
    let kept = found.lines.len();
    assert!((60..110).contains(&kept), "{kept} lines in three files");
    assert_eq!(messages(&found.lines), numbers[200 - kept..]);
    let entries = fs::read_dir(folder.path().join("made")).unwrap();
    let mut sizes: Vec<(String, u64)> = entries
        .map(|entry| {
            let entry = entry.unwrap();
            let size = entry.metadata().unwrap().len();
            (entry.file_name().into_string().unwrap(), size)
        })
        .collect();
    sizes.sort();
    let names: Vec<&str> = sizes.iter().map(|(name, _)| &**name).collect();
    assert_eq!(names, ["node-1.log", "node-1.log.1", "node-1.log.2"]);
    assert!(sizes.iter().all(|(_, bytes)| *bytes <= 4_000), "{sizes:?}");
    assert!(logs.counts().rotations() >= 3);
    assert_eq!(logs.counts().not_in_file(), 0);
}

#[tokio::test]
async fn only_the_end_of_a_large_file_is_read_and_the_same_question_reads_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let files = files(folder.path(), 1 << 40, 3);
    let lines: String = (0..100_000)
        .map(|at| line(at, &format!("line {at}")))
        .collect();
    fs::write(files.path(), lines).unwrap();
    let bytes = fs::metadata(files.path()).unwrap().len();
    assert!(bytes > 8 << 20);
    let (logs, subscriber) = started(Some(files.clone()));
    let asked = query("info", "line", 0);
    let found = logs.find(NODE, &asked).await;
    assert_eq!((found.lines.len(), found.is_cut), (1_000, true));
    assert_eq!(found.lines[999].message, "line 99999");
    assert!(
        found.bytes_read < 200_000,
        "{} of {bytes} bytes were read",
        found.bytes_read
    );
    assert_eq!(logs.find(NODE, &asked).await.bytes_read, 0);
    assert!(logs.find(NODE, &query("", "line 9999", 0)).await.bytes_read > 0);
    tracing::subscriber::with_default(subscriber, || tracing::info!("line more"));
    let found = find(&logs, &asked).await;
    assert!(found.bytes_read > 0);
    assert_eq!(found.lines[999].message, "line more");
}

#[tokio::test]
async fn a_question_that_finds_nothing_reads_no_more_than_a_bound_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let files = files(folder.path(), 1 << 40, 1);
    let file = fs::File::create(files.path()).unwrap();
    // Holes cost no disk; they are one line without end.
    file.set_len(1 << 30).unwrap();
    let (logs, _subscriber) = started(Some(files));
    let found = logs.find(NODE, &query("", "nothing", 0)).await;
    assert_eq!((found.bytes_read, found.is_cut), (SCAN_BYTES_MAX, true));
    assert_eq!(found.lines, []);
}

#[tokio::test]
async fn a_time_ends_the_search() {
    let folder = tempfile::tempdir().unwrap();
    let files = files(folder.path(), 1 << 40, 1);
    let lines: String = (0..50_000).map(|at| line(at, "line")).collect();
    fs::write(files.path(), lines).unwrap();
    let (logs, capture) = Logs::new(WallClock::starting_at(Duration::from_millis(
        1_800_000_050_000,
    )));
    drop(capture);
    tokio::spawn(logs.begin(Some(files)));
    tokio::task::yield_now().await;
    let asked = Query::new(
        Some(Duration::from_millis(20_000)),
        "error",
        "",
        0,
        LINES_MAX,
    )
    .unwrap();
    let found = logs.find(NODE, &asked).await;
    assert!(!found.is_cut && found.lines.is_empty());
    assert!(found.bytes_read < 3 << 20, "{}", found.bytes_read);
}

#[tokio::test]
async fn whatever_somebody_does_to_the_file_lines_are_written_and_found() {
    let folder = tempfile::tempdir().unwrap();
    let files = files(folder.path(), 1 << 20, 3);
    let (logs, subscriber) = started(Some(files.clone()));
    let _default = tracing::subscriber::set_default(subscriber);
    let path = files.path();
    tracing::info!("one");
    assert_eq!(
        messages(&find(&logs, &query("", "", 0)).await.lines),
        ["one"]
    );
    // As logrotate moves it.
    fs::rename(&path, folder.path().join("node-1.log.1")).unwrap();
    tracing::info!("two");
    assert_eq!(
        messages(&find(&logs, &query("", "", 0)).await.lines),
        ["one", "two"]
    );
    // As logrotate empties it.
    fs::File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(0)
        .unwrap();
    assert_eq!(
        messages(&find(&logs, &query("", "", 0)).await.lines),
        ["one"]
    );
    tracing::info!("three");
    assert_eq!(
        messages(&find(&logs, &query("", "", 0)).await.lines),
        ["one", "three"]
    );
    fs::remove_dir_all(folder.path()).unwrap();
    tracing::info!("four");
    assert_eq!(
        messages(&find(&logs, &query("", "", 0)).await.lines),
        ["four"]
    );
    assert_eq!(
        (logs.counts().not_in_file(), logs.counts().failures()),
        (0, 0)
    );
}

#[tokio::test]
async fn what_others_wrote_into_the_file_is_shown_and_harms_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let files = files(folder.path(), 1 << 30, 1);
    let mut text = b"panicked \xff\xfe at\n\n".to_vec();
    text.extend_from_slice(line(1, "sound").as_bytes());
    text.extend_from_slice(&[b'x'; 3 << 20]);
    text.extend_from_slice(
        b"\n{\"timestamp\":\"2027-01-15T08:00:00.000Z\",\"level\":\"INFO\",\"torn\n",
    );
    text.extend_from_slice(line(2, "last").trim_end().as_bytes());
    fs::write(files.path(), text).unwrap();
    let (logs, _subscriber) = started(Some(files));
    let found = logs.find(NODE, &query("", "", 0)).await;
    let [panic, sound, long, torn, last] = &found.lines[..] else {
        panic!("{:?}", messages(&found.lines));
    };
    assert_eq!(
        (&*panic.message, &*panic.level),
        ("panicked \u{fffd}\u{fffd} at", "")
    );
    assert_eq!((&*sound.message, &*last.message), ("sound", "last"));
    assert_eq!(long.message.len(), LINE_BYTES_MAX);
    assert!(torn.message.starts_with("{\"timestamp\""));
}

#[tokio::test]
async fn a_folder_that_cannot_be_used_is_counted_and_said_once() {
    let folder = tempfile::tempdir().unwrap();
    let blocked = folder.path().join("file");
    fs::write(&blocked, "").unwrap();
    let (logs, subscriber) = started(Some(files(&blocked, 1 << 20, 1)));
    let _default = tracing::subscriber::set_default(subscriber);
    for number in 0..3 {
        tracing::info!(number, "line");
        logs.flush(Duration::from_secs(10)).await;
    }
    assert_eq!(
        (logs.counts().failures(), logs.counts().not_in_file()),
        (3, 3)
    );
    fs::remove_file(&blocked).unwrap();
    tracing::info!("at last");
    assert_eq!(
        messages(&find(&logs, &query("", "", 0)).await.lines),
        ["at last"]
    );
}

#[tokio::test]
async fn who_follows_gets_each_line_once_also_while_files_are_put_aside() {
    let folder = tempfile::tempdir().unwrap();
    for files in [None, Some(files(folder.path(), 2_000, 100))] {
        let (logs, subscriber) = started(files);
        let _default = tracing::subscriber::set_default(subscriber);
        let asked = query("", "line", 0);
        let (mut seen, mut last) = (Vec::new(), None);
        for number in 0..100 {
            tracing::info!("line {number}");
            if number % 7 == 0 {
                tokio::task::yield_now().await;
            }
            let (lines, end) = match last {
                None => {
                    let found = logs.find(NODE, &asked).await;
                    (found.lines, found.last)
                }
                Some(last) => {
                    let page = logs.after(NODE, &asked, last).await;
                    assert_eq!(page.missed, 0);
                    (page.lines, page.last)
                }
            };
            seen.extend(lines.into_iter().map(|line| line.message));
            last = Some(end);
            // Somebody else begins to follow now.
            let found = logs.find(NODE, &asked).await;
            assert_eq!(found.lines.len() as u64, found.last);
        }
        logs.flush(Duration::from_secs(10)).await;
        let page = logs.after(NODE, &asked, last.unwrap()).await;
        seen.extend(page.lines.into_iter().map(|line| line.message));
        let expected: Vec<String> = (0..100).map(|number| format!("line {number}")).collect();
        assert_eq!(seen, expected);
    }
}

#[tokio::test]
async fn who_follows_too_slowly_is_told_how_many_lines_are_gone() {
    let (logs, subscriber) = started(None);
    tracing::subscriber::with_default(subscriber, || {
        for _ in 0..5_000 {
            tracing::info!("line");
        }
    });
    logs.flush(Duration::from_secs(10)).await;
    let page = logs.after(NODE, &query("", "", 0), 0).await;
    assert_eq!(
        (page.lines.len(), page.missed, page.last),
        (4_096, 904, 5_000)
    );
}

#[tokio::test]
async fn levels_of_modules_change_while_the_process_runs() {
    let (filter, handle) = reload::Layer::new(EnvFilter::new("warn"));
    let reload: Reload = Box::new(move |filter| handle.reload(filter));
    let (logs, capture) = Logs::with(clock(), Some(("warn".to_owned(), reload)));
    tokio::spawn(logs.begin(None));
    let subscriber = tracing_subscriber::registry().with(filter).with(capture);
    let _default = tracing::subscriber::set_default(subscriber);
    let (levels, changes) = watch::channel(Vec::new());
    let following = tokio::spawn(logs.clone().follow_levels(changes));
    let say = async |word: &str| {
        tokio::task::yield_now().await;
        tracing::info!(target: "weir_node::peers", "{word} peers");
        tracing::info!(target: "weir_node::cdn", "{word} cdn");
    };
    say("before").await;
    levels
        .send(vec!["weir_node::peers=debug".to_owned()])
        .unwrap();
    say("one").await;
    levels
        .send(vec!["info".to_owned(), "weir_node::peers=off".to_owned()])
        .unwrap();
    say("two").await;
    levels.send(Vec::new()).unwrap();
    say("after").await;
    assert_eq!(
        messages(&find(&logs, &query("", "", 0)).await.lines),
        ["one peers", "two cdn"]
    );
    drop(levels);
    following.await.unwrap();
}
