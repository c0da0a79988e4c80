//! What is told of answers over gRPC: what is kept, why, and what was fetched ahead.

use tokio_stream::StreamExt as _;
use tonic::Code;
use weir_proto::node::v1 as pb;
use weir_proto::node::v1::cache_client::CacheClient;

use super::cached;
use super::origin::Origin;
use crate::grpc::channel;

const URL: &str = "http://test/a";

fn asked(url: &str) -> pb::CachedRequest {
    pb::CachedRequest {
        url: url.to_owned(),
        body_bytes_max: 2,
        ..pb::CachedRequest::default()
    }
}

#[tokio::test]
async fn what_is_kept_and_why_and_what_is_fetched_ahead_is_told_over_grpc() {
    let origin = Origin::start(|mut asked| async move {
        let fields = "cache-control: max-age=600\r\ncache-tag: a, b\r\n";
        asked.answer("200 OK", fields, "here").await;
        asked
    })
    .await;
    let route = "name = \"shop\"\ncache = true";
    let weir = cached(origin.address, route, "").await;
    let mut client = CacheClient::new(channel(weir.grpc).await);
    let missing = client.get_entry(asked(URL)).await.unwrap_err();
    assert_eq!(missing.code(), Code::NotFound);
    let told = client.explain(asked(URL)).await.unwrap().into_inner();
    assert_eq!(told.kept, "nothing");

    let request = pb::WarmRequest {
        urls: vec![URL.to_owned()],
        hot: false,
    };
    let warmed = client.warm(request).await.unwrap().into_inner();
    let results: Vec<_> = warmed.map(Result::unwrap).collect().await;
    let [result] = results.as_slice() else {
        panic!("{results:?}");
    };
    let outcome = (result.outcome.as_str(), result.status, result.bytes);
    assert_eq!(outcome, ("kept", 200, 4));

    let entry = client.get_entry(asked(URL)).await.unwrap().into_inner();
    let told = (entry.status, entry.tags, entry.body_bytes, &*entry.body);
    assert_eq!(told, (200, 2, 4, b"he".as_slice()));
    assert!((590..=600).contains(&entry.ttl_s), "{entry:?}");
    let told = client.explain(asked(URL)).await.unwrap().into_inner();
    let names = (
        told.route.as_str(),
        told.namespace.as_str(),
        told.kept.as_str(),
    );
    assert_eq!(names, ("shop", "shop", "kept"));
    let steps = format!("{:?}", told.steps);
    assert!(steps.contains("max-age=600"), "{steps}");
    let stats = client.get_cache(pb::GetCacheRequest {}).await.unwrap();
    assert_eq!(stats.into_inner().keys, 1);
    assert_eq!(origin.asked(), 1);
}

#[tokio::test]
async fn why_an_answer_is_not_kept_is_told_again_as_long_as_it_is_remembered() {
    let origin = Origin::start(|mut asked| async move {
        asked
            .answer("200 OK", "cache-control: private\r\n", "here")
            .await;
        asked
    })
    .await;
    let weir = cached(origin.address, "cache = true", "").await;
    let mut client = CacheClient::new(channel(weir.grpc).await);
    let told = client.explain(asked(URL)).await.unwrap().into_inner();
    assert_eq!((&*told.kept, &*told.not_kept), ("nothing", ""));
    for _ in 0..2 {
        let answer = weir.get("/a").await;
        assert!(answer.contains("fwd=uri-miss; detail=private"), "{answer}");
    }
    for url in [URL, "https://test/a"] {
        let told = client.explain(asked(url)).await.unwrap().into_inner();
        assert_eq!((&*told.kept, &*told.not_kept), ("nothing", "private"));
    }
    let (_, said) = weir.command(&["cache", "explain", URL]).await;
    assert!(
        said.contains("nothing is kept; of the last answer: private"),
        "{said}"
    );
}
