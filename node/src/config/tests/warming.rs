//! What is fetched ahead.

use super::problems;

#[test]
fn lists_that_come_to_more_requests_than_are_made_are_refused_with_their_bound() {
    let text = |key: &str, hosts: usize| {
        let hosts: Vec<String> = (0..hosts).map(|at| format!("\"h{at}.example\"")).collect();
        format!(
            "[cache]\n{key}\n[services.web]\nbackends = [\"127.0.0.1:1\"]\n\
             [[routes]]\nservice = \"web\"\nhost = [{}]\ncache = true\n",
            hosts.join(", ")
        )
    };
    let told = "0 URLs, and 50 paths on 1001 hosts of routes with a cache, are 50050 requests, at most 50000 are made";
    let paths: Vec<String> = (0..50).map(|at| format!("/{at}")).collect();
    let listed = format!(
        "warm_on_start = [\"{}\"]\nwarm_schedule = []",
        paths.join("\", \"")
    );
    assert_eq!(problems(&text(&listed, 1_000)), [""; 0]);
    let all = problems(&text(&listed, 1_001));
    assert!(
        all[0].starts_with(&format!("cache.warm_on_start: {told}")),
        "{all:?}"
    );
    let each = |paths: &[String]| format!("\"0 6 * * * {}\"", paths.join(" "));
    let (some, others) = paths.split_at(20);
    let scheduled = format!("warm_schedule = [{}, {}]", each(some), each(others));
    assert_eq!(problems(&text(&scheduled, 1_000)), [""; 0]);
    let all = problems(&text(&scheduled, 1_001));
    assert!(
        all[0].starts_with(&format!("cache.warm_schedule: {told}")),
        "{all:?}"
    );
}
