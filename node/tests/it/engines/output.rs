//! What engines write: kept within bounds, and never in their way.

use futures::StreamExt as _;
use tokio::time::timeout;
use weir_engines::driver::Driver as _;

use super::{driver, shell, until};
use crate::common::PATIENCE;

/// Two files of one MiB each.
const KEPT_BYTES_MAX: u64 = 2 << 20;

#[tokio::test]
async fn a_chatty_engine_fills_two_files_and_its_last_lines_are_kept() {
    let (driver, folder) = driver();
    let done = folder.path().join("done");
    let script = format!(
        "yes a line of some length that is written again and again | head -c 50000000; \
         echo; printf 'last\\nunfinished'; touch {}; exec sleep 1000",
        done.display()
    );
    driver
        .start(shell("chatty", 1, "x", &script))
        .await
        .unwrap();
    let kept = || {
        let files = std::fs::read_dir(folder.path().join("chatty")).unwrap();
        files
            .map(|file| file.unwrap().metadata().unwrap().len())
            .collect::<Vec<_>>()
    };
    until("it wrote everything", PATIENCE, || {
        let files = kept();
        assert!(
            files.iter().sum::<u64>() <= KEPT_BYTES_MAX + 4_096,
            "{files:?}"
        );
        done.exists()
    })
    .await;
    let output = folder.path().join("chatty/log");
    until("the last line is on the disk", PATIENCE, || {
        std::fs::read_to_string(&output).is_ok_and(|text| text.ends_with("\nlast\n"))
    })
    .await;
    let lines = driver.logs("chatty", 100_000).await.unwrap();
    assert!(
        lines
            .iter()
            .any(|line| line.ends_with("lines were lost here"))
    );
    assert_eq!(driver.logs("chatty", 1).await.unwrap(), ["last"]);
    driver.stop("chatty", u64::MAX, PATIENCE).await.unwrap();
}

#[tokio::test]
async fn a_full_disk_does_not_hold_an_engine_up() {
    let (driver, folder) = driver();
    let mut lost = driver.lines_lost();
    let (output, done) = (folder.path().join("one/log"), folder.path().join("done"));
    let script = format!(
        "ln -s /dev/full {}; head -c 10000000 /dev/zero | tr '\\0' '\\n'; touch {}; exec sleep 1000",
        output.display(),
        done.display()
    );
    driver.start(shell("one", 1, "x", &script)).await.unwrap();
    until("it wrote everything", PATIENCE, || done.exists()).await;
    let lost = timeout(PATIENCE, lost.next()).await.unwrap().unwrap();
    assert!(lost.name == "one" && lost.count > 0, "{lost:?}");
    driver.stop("one", u64::MAX, PATIENCE).await.unwrap();
}
