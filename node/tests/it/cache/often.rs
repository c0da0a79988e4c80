//! Bodies that are asked for so often that the kernel holds them once more.

use super::cached;
use super::origin::Origin;
use crate::client::Client;

const BYTES: usize = 300_000;
const SENT: &str = "weir_sendfile_bytes_total";

fn body() -> String {
    (0..BYTES / 10).map(|at| format!("{at:010}")).collect()
}

#[tokio::test]
async fn a_body_that_is_asked_for_often_is_sent_from_the_kernel_and_is_the_same() {
    let origin = Origin::start(|mut asked| async move {
        asked
            .answer(
                "200 OK",
                "cache-control: max-age=60\r\netag: \"1\"\r\n",
                &body(),
            )
            .await;
        asked
    })
    .await;
    let weir = cached(origin.address, "cache = true", "").await;
    let mut client = Client::connect(weir.ingress).await;
    for _ in 0..100 {
        assert!(
            client.get("/").await.unwrap().text() == body(),
            "other bytes"
        );
    }
    let sent = weir.metric(SENT).await;
    assert!(sent >= 50.0 * BYTES as f64, "{sent}");
    // Whoever wants a part, or nothing but the head, gets that.
    let range = "GET / HTTP/1.1\r\nHost: test\r\nRange: bytes=10-19\r\n\r\n";
    let part = client.ask(range).await.unwrap();
    assert_eq!((part.status, part.text().as_str()), (206, "0000000001"));
    assert!(client.get("/").await.unwrap().text() == body());
    assert_eq!(origin.asked(), 1);
}
