//! A node carries a request.

use crate::common::{Backend, Weir, web};

#[tokio::test]
async fn a_request_reaches_a_backend_and_its_answer_comes_back() {
    let backend = Backend::start("one").await;
    let weir = Weir::start(&web(&[backend.address], "")).await;
    let answer = weir.get("/").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.ends_with("hello from one\n"), "{answer}");
}
