//! What keeps the engines of one service from starting is nothing to those of another.

use super::{engines, seen};
use crate::common::{Weir, free_ports};

#[tokio::test]
async fn a_vpn_and_a_docker_that_nobody_answers_for_hold_up_no_other_service() {
    let [nobody] = free_ports();
    let stuck = format!(
        "[vpns.nl]\ncontrol_url = \"http://{nobody}\"\n\
         [services.tv.engines]\nimage = \"tv:1\"\nvpns = [\"nl\"]\nmin = 2\n"
    );
    let config = engines(2, 2).replace(
        "[provision]\n",
        "[provision]\ndocker_socket = \"unix:///nowhere/docker.sock\"\n",
    );
    let weir = Weir::start(&(stuck + &config)).await;
    let list = seen(
        &weir,
        false,
        "two are ready, and it is told what is in the way",
        |list| {
            let ready = list.engines.iter().filter(|engine| engine.state == "ready");
            ready.count() == 2 && !list.problems.is_empty()
        },
    )
    .await;
    let problem = &list.problems[0].what;
    assert!(
        problem.starts_with("docker: Docker at /nowhere/docker.sock"),
        "{list:?}"
    );
    assert!(weir.get("/").await.contains("hello from web-"));
}
