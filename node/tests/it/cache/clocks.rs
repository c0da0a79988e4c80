//! The system's clock is set, forward and back, while answers are kept.

use super::origin::Origin;
use crate::client::Client;
use crate::common::Weir;
use crate::engines_face::clocks::SystemClock;

#[tokio::test]
async fn a_clock_that_is_set_neither_ends_nor_prolongs_what_is_kept_and_purges_count() {
    let folder = tempfile::tempdir().unwrap();
    let clock = SystemClock::new(folder.path());
    let origin = Origin::start(|mut asked| async move {
        let body = format!("answer {}", asked.number);
        asked
            .answer("200 OK", "cache-control: max-age=600\r\n", &body)
            .await;
        asked
    })
    .await;
    let config = format!(
        "[services.web]\nbackends = [\"{}\"]\n[[routes]]\nservice = \"web\"\ncache = true\n",
        origin.address
    );
    let weir = Weir::start_in("", &config, &clock.environment()).await;
    let mut client = Client::connect(weir.ingress).await;
    client.get("/").await.unwrap();
    for (number, offset) in (1..).zip(["+400d", "-800d"]) {
        clock.set(offset);
        let kept = client.get("/").await.unwrap();
        assert_eq!(kept.text(), format!("answer {number}"), "{offset}");
        let age: u64 = kept.header("age").unwrap().parse().unwrap();
        assert!(age < 60, "{offset}: {}", kept.head);
        let purged = weir.post_api("/api/cache/purge", r#"{"url":"http://test/"}"#);
        assert_eq!(purged.await, 200);
        let anew = client.get("/").await.unwrap();
        assert_eq!(anew.text(), format!("answer {}", number + 1), "{offset}");
    }
    assert_eq!(origin.asked(), 3);
}
