//! Whether one more engine of a service fits, before anybody asks for it.

use std::sync::Arc;

use weir_control_plane::jobs::{DEFAULT_QUEUE, Error, Job, JobList, JobQueue, State};
use weir_core::ids::ServiceName;
use weir_core::provision::{Refusal, RefusalCode};

use super::handle::Wish;
use super::publish::Picture;
use crate::config::{Config, Scale};

const JOBS_LISTED: usize = 200;

/// Jobs that will make engines, of all services.
pub(super) async fn all_open_jobs(queue: &Arc<dyn JobQueue>) -> Result<Vec<Job>, Error> {
    let mut open = Vec::new();
    let mut list = JobList {
        queue: DEFAULT_QUEUE.to_owned(),
        states: vec![State::Ready, State::Waiting, State::Claimed],
        entries_max: JOBS_LISTED,
        ..JobList::default()
    };
    loop {
        let page = queue.list(list.clone()).await?;
        open.extend(page.jobs);
        if page.next.is_empty() {
            return Ok(open);
        }
        list.after = page.next;
    }
}

/// Jobs that will make engines of this service.
pub(super) async fn open_jobs(queue: &Arc<dyn JobQueue>, service: &str) -> Result<Vec<Job>, Error> {
    let mut open = all_open_jobs(queue).await?;
    open.retain(|job| {
        job.spec
            .as_ref()
            .is_some_and(|spec| spec.service == service)
    });
    Ok(open)
}

/// Refuses a wish for more than there may be; one that has a job already fits.
///
/// Two wishes at the same time may both pass: slots bound what is started.
pub(super) fn check(
    wish: &Wish,
    scale: &Scale,
    open: &[Job],
    (picture, config): (&Picture, &Config),
) -> Result<(), Refusal> {
    if open.iter().any(|job| job.idempotency_key == wish.key) {
        return Ok(());
    }
    let service = wish.service.as_str();
    let blocked = picture.blocked_of(service);
    let there = there(&wish.service, picture, config);
    if there + open.len() < scale.max as usize {
        // A wish that has a job waits for a port with it.
        let no_port = blocked.filter(|blocked| blocked.code == RefusalCode::NoPortFree);
        return no_port.cloned().map_or(Ok(()), Err);
    }
    let message = format!(
        "service `{service}` has {there} engines and {} on the way, and may have {}",
        open.len(),
        scale.max
    );
    Err(Refusal::new(RefusalCode::MaxCapacity, message))
}

/// Engines of a service that are there to stay, in the whole mesh.
pub(super) fn there(service: &ServiceName, picture: &Picture, config: &Config) -> usize {
    let own = picture.engines.iter().filter(|engine| {
        let stays = matches!(engine.state, "ready" | "hidden" | "unhealthy");
        stays && engine.service == service.as_str()
    });
    let registered = config.given().endpoints.get(service);
    let others = registered.into_iter().flatten().filter(|(_, backend)| {
        let facts = backend.engine.as_ref();
        facts.is_some_and(|facts| facts.node != config.node.name)
    });
    own.count() + others.count()
}

#[cfg(test)]
mod tests {
    use super::super::EngineView;
    use super::*;
    use crate::config::{Environment, Given};

    const CONFIG: &str = "[services.tv.engines]\ncommand = [\"tv\"]\nmax = 2\n";

    fn checked(states: &[&'static str], keys: &[&str]) -> Result<(), Refusal> {
        let config = Config::parse(CONFIG, &Environment::new(), &Given::default()).unwrap();
        let engine = |state: &&'static str| EngineView {
            service: "tv".to_owned(),
            state,
            ..EngineView::default()
        };
        let picture = Picture {
            engines: states.iter().map(engine).collect(),
            ..Picture::default()
        };
        let job = |key: &&str| Job {
            idempotency_key: (*key).to_owned(),
            ..Job::default()
        };
        let open: Vec<Job> = keys.iter().map(job).collect();
        let wish = Wish {
            service: "tv".into(),
            key: "mine".to_owned(),
            reason: String::new(),
            engines_wanted: None,
            trace: None,
        };
        let scale = &config.services[0].engines.as_ref().unwrap().scale;
        check(&wish, scale, &open, (&picture, &config))
    }

    #[test]
    fn what_runs_and_what_is_on_the_way_counts_once_each() {
        assert_eq!(checked(&["ready"], &[]), Ok(()));
        // The second one is the job's.
        assert_eq!(checked(&["starting"], &["other"]), Ok(()));
        // What leaves is nobody's engine any more.
        assert_eq!(checked(&["ready", "draining"], &[]), Ok(()));
        for (states, keys) in [
            (&["ready", "unhealthy"][..], &[][..]),
            (&["ready"], &["other"]),
            (&[], &["one", "two"]),
        ] {
            let refused = checked(states, keys).unwrap_err();
            assert_eq!(refused.code, RefusalCode::MaxCapacity);
            assert!(refused.message.ends_with("may have 2"), "{refused}");
        }
    }

    #[test]
    fn a_wish_that_has_a_job_is_never_one_too_many() {
        assert_eq!(checked(&["ready"], &["mine"]), Ok(()));
        assert_eq!(checked(&["ready", "ready"], &["mine"]), Ok(()));
    }
}
