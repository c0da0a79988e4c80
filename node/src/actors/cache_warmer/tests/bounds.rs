//! However much is wanted, and whatever hangs.

use super::*;

/// The node has a route with a cache on so many hosts.
fn serve_hosts(node: &Node, count: usize) {
    let hosts: Vec<String> = (0..count).map(|at| format!("\"h{at}.example\"")).collect();
    let text = format!(
        "[services.web]\nbackends = [\"127.0.0.1:1\"]\n[[routes]]\nservice = \"web\"\nhost = [{}]\ncache = true\n",
        hosts.join(", ")
    );
    let config = Config::parse(&text, &Environment::new(), &Given::default()).unwrap();
    node.parts.routing.publish(Routing {
        revision: 2,
        table: config.routes,
        routes: config.route_settings,
        ..Routing::empty()
    });
}

#[tokio::test(start_paused = true)]
async fn an_order_that_comes_to_more_requests_than_are_made_is_refused() {
    run(async {
        let node = Node::start("a", &[], &settings(""), None);
        node.core(Duration::ZERO, WarmOutcome::Kept);
        tokio::task::yield_now().await;
        serve_hosts(&node, 100);
        let order = |paths: usize| {
            let paths = (0..paths).map(|number| Wanted::parse(&format!("/{number}")).unwrap());
            node.handle.order(paths.collect(), false)
        };
        let too_many = TooManyRequests {
            urls: 0,
            paths: 501,
            hosts: 100,
        };
        assert_eq!(order(501).await.unwrap_err(), NotWarmed::TooMany(too_many));
        assert_eq!(order(500).await.unwrap().0, 50_000);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn orders_do_not_wait_behind_refreshes_of_an_origin_that_hangs() {
    run(async {
        let node = Node::start("a", &[], &settings("warm_schedule = []"), None);
        node.core(600 * SECOND, WarmOutcome::Kept);
        for number in 0..300 {
            let url = format!("http://a.example/{number}");
            node.keep(&url, 100);
            node.asked_for(&url, 10);
        }
        sleep(93 * SECOND).await;
        assert!(!node.jobs.borrow().is_empty());
        let wanted = vec![Wanted::parse("a.example/ordered").unwrap()];
        let _told = node.handle.order(wanted, false).await.unwrap();
        sleep(SECOND).await;
        let urls = node.urls();
        assert!(
            urls.contains(&"http://a.example/ordered".to_owned()),
            "{urls:?}"
        );
        // Nothing of what is over by then is still tried.
        sleep(20 * SECOND).await;
        let asked = node.urls().len();
        sleep(600 * SECOND).await;
        assert_eq!(node.urls().len(), asked);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn no_more_refreshes_begin_while_those_before_fill_the_gate() {
    run(async {
        let node = Node::start("a", &[], &settings("warm_schedule = []"), None);
        node.core(600 * SECOND, WarmOutcome::Kept);
        for number in 0..600 {
            let url = format!("http://a.example/{number}");
            node.keep(&url, 100);
            node.asked_for(&url, 10);
        }
        sleep(80 * SECOND).await;
        let idle = node.parts.warming.desk.holders();
        sleep(15 * SECOND).await;
        let runs = node.parts.warming.desk.holders() - idle;
        assert!((200..=260).contains(&runs), "{runs}");
    })
    .await;
}
